#include "loadtest/selftest/stall_server.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/stop.h"
#include "loadtest/engine/retry_queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define CONNECTIONS_MAX 8192
#define REQUEST_BYTES   2048
#define EVENTS_AT_ONCE  128

struct stall_connection {
    int fd;       /* -1: the client has gone, and the queue still has it */
    bool is_due;  /* in the queue */
    bool is_busy; /* a request was read, and its answer is not written yet */
    char request[REQUEST_BYTES];
    size_t request_size;
    uint64_t number;
    uint32_t feed_id;
    int64_t due_ns;
    struct stall_answer answer;
    struct text out;
    size_t out_sent;
    LIST_ENTRY(stall_connection) link;
};

/* (i) immutable after start; the rest is the thread's between start and join. */
struct stall_server {
    const struct stall_scene *scene; /* (i) */
    size_t served_max;               /* (i) */
    uint16_t port;                   /* (i) */
    pthread_t thread;
    bool started;
    struct stop stop;
    int listen_fd;
    int epoll_fd;
    int timer_fd;
    int64_t zero_ns; /* when the first request arrived (monotonic) */
    struct stall_slots slots;
    struct retry_queue queue; /* connections whose answer has its time yet to come */
    LIST_HEAD(stall_connections, stall_connection) connections;
    size_t connection_count;
    struct stall_record record;
};

static void forget(struct stall_server *server, struct stall_connection *connection)
{
    assert(server->connection_count > 0);
    LIST_REMOVE(connection, link);
    server->connection_count--;
    text_clear(&connection->out);
    free(connection);
}

/* The connection may be gone for good after this. */
static void hang_up(struct stall_server *server, struct stall_connection *connection)
{
    close(connection->fd);
    connection->fd = -1;
    if (!connection->is_due)
        forget(server, connection);
}

static void accept_all(struct stall_server *server)
{
    int fd;
    int on = 1;
    while ((fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct stall_connection *connection = NULL;
        if (server->connection_count < CONNECTIONS_MAX)
            connection = calloc(1, sizeof *connection);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (!connection || epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
            free(connection);
            close(fd);
            continue;
        }
        connection->fd = fd;
        LIST_INSERT_HEAD(&server->connections, connection, link);
        server->connection_count++;
    }
}

static void write_down(struct stall_server *server, const struct stall_answer *answer,
                       int64_t arrived_ns)
{
    struct stall_record *record = &server->record;
    record->requests++;
    record->by_kind[answer->kind]++;
    feed_check_merge(&record->defects, &(struct feed_defects){.lost = answer->lost,
                                                              .foreign = answer->foreign,
                                                              .duplicate = answer->duplicate,
                                                              .corrupt = answer->corrupt});
    if (record->served_count < server->served_max)
        record->served[record->served_count++] = (struct stall_served){.arrived_ns = arrived_ns};
}

/* "GET /v1/feeds/7?items=3 HTTP/1.1": 7; 1 for any other path. */
static uint32_t feed_of(const char *request)
{
    static const char path[] = " /v1/feeds/";
    const char *at = strstr(request, path);
    unsigned long feed_id = at ? strtoul(at + sizeof path - 1, NULL, 10) : 0;
    return feed_id >= 1 && feed_id <= 1000 ? (uint32_t)feed_id : 1;
}

/* Takes up the request in the buffer, if it is whole and the last one is answered. */
static void take_request(struct stall_server *server, struct stall_connection *connection)
{
    connection->request[connection->request_size] = '\0';
    const char *end = strstr(connection->request, "\r\n\r\n");
    if (!end || connection->is_busy)
        return;
    int64_t now_ns = clock_now_ns();
    if (server->record.requests == 0)
        server->zero_ns = now_ns;
    connection->number = server->record.requests;
    connection->feed_id = feed_of(connection->request);
    size_t size = (size_t)(end + 4 - connection->request);
    connection->request_size -= size;
    memmove(connection->request, end + 4, connection->request_size);

    const struct stall_scene *scene = server->scene;
    connection->answer = (struct stall_answer){.kind = STALL_RIGHT};
    if (scene->choose)
        scene->choose(connection->number, &connection->answer);
    write_down(server, &connection->answer, now_ns);
    connection->due_ns =
        server->zero_ns +
        stall_scene_finish_ns(scene, &server->slots, connection->number, now_ns - server->zero_ns);
    if (connection->answer.kind == STALL_LATE)
        connection->due_ns += scene->late_ns;
    connection->is_busy = true;
    connection->is_due = connection->answer.kind != STALL_HOLE;
    if (!connection->is_due)
        return;
    /* Written now, so that nothing but sending is left when it is due. */
    stall_scene_write(scene, &connection->answer, connection->number, connection->feed_id,
                      &connection->out);
    retry_queue_push(&server->queue, connection->due_ns, connection);
}

static void watch(struct stall_server *server, struct stall_connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    int failed = epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
    assert(!failed);
}

/* Ends the answer: reset and garbage end the connection, too. */
static void finish_answer(struct stall_server *server, struct stall_connection *connection)
{
    enum stall_kind kind = connection->answer.kind;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    text_clear(&connection->out);
    connection->out_sent = 0;
    connection->is_busy = false;
    if (kind == STALL_RESET)
        setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (kind == STALL_RESET || kind == STALL_GARBAGE)
        hang_up(server, connection);
    else
        take_request(server, connection);
}

static void send_more(struct stall_server *server, struct stall_connection *connection)
{
    const struct text *out = &connection->out;
    size_t end = connection->answer.kind == STALL_RESET ? out->size_bytes / 2 : out->size_bytes;
    bool was_full = connection->out_sent > 0;
    while (connection->out_sent < end) {
        ssize_t sent = send(connection->fd, out->data + connection->out_sent,
                            end - connection->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            watch(server, connection, EPOLLIN | EPOLLOUT);
            return;
        }
        if (sent < 0) {
            hang_up(server, connection);
            return;
        }
        connection->out_sent += (size_t)sent;
    }
    if (was_full)
        watch(server, connection, EPOLLIN);
    finish_answer(server, connection);
}

static void answer_due(struct stall_server *server)
{
    struct stall_record *record = &server->record;
    struct stall_connection *connection;
    int64_t now_ns;
    while (now_ns = clock_now_ns(),
           (connection = retry_queue_pop_due(&server->queue, now_ns)) != NULL) {
        connection->is_due = false;
        if (now_ns - connection->due_ns > record->late_max_ns)
            record->late_max_ns = now_ns - connection->due_ns;
        if (connection->number < record->served_count)
            record->served[connection->number].answered_ns = now_ns;
        if (connection->fd < 0) {
            forget(server, connection);
            continue;
        }
        if (connection->out.failed)
            hang_up(server, connection);
        else
            send_more(server, connection);
    }
}

static void take_event(struct stall_server *server, struct stall_connection *connection,
                       uint32_t events)
{
    size_t room = sizeof connection->request - 1 - connection->request_size;
    if (events & EPOLLOUT) {
        send_more(server, connection); /* what it has to say besides is reported again */
        return;
    }
    ssize_t got =
        room > 0 ? recv(connection->fd, connection->request + connection->request_size, room, 0)
                 : 0;
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        hang_up(server, connection);
        return;
    }
    connection->request_size += (size_t)got;
    take_request(server, connection);
}

static void arm_timer(struct stall_server *server)
{
    struct itimerspec when = {.it_value = clock_timespec(retry_queue_next_ns(&server->queue))};
    int failed = timerfd_settime(server->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    assert(!failed);
}

/* One round; returns how many events of clients there were. Answers come last: an event behind a
 * connection that was hung up would find it freed. */
static int go_round(struct stall_server *server, int timeout_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int clients = 0;
    int count = epoll_wait(server->epoll_fd, events, EVENTS_AT_ONCE, timeout_ms);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == &server->listen_fd)
            accept_all(server);
        else if (events[i].data.ptr)
            take_event(server, events[i].data.ptr, events[i].events);
        clients += events[i].data.ptr != NULL;
    }
    answer_due(server);
    return clients;
}

static void *server_main(void *argument)
{
    struct stall_server *server = argument;
    prctl(PR_SET_TIMERSLACK, 1UL); /* the default lets a timer be 50 us late */
    while (!stop_requested(&server->stop)) {
        arm_timer(server);
        go_round(server, -1);
    }
    while (go_round(server, 0) > 0) /* what was sent before the stop is on record */
        ;
    return NULL;
}

static bool add(struct stall_server *server, int fd, void *pointer)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = pointer};
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool listen_anywhere(struct stall_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->listen_fd < 0 ||
        bind(server->listen_fd, (struct sockaddr *)&address, sizeof address) ||
        listen(server->listen_fd, SOMAXCONN) ||
        getsockname(server->listen_fd, (struct sockaddr *)&address, &size))
        return false;
    server->port = ntohs(address.sin_port);
    return true;
}

struct stall_server *stall_server_start(const struct stall_scene *scene, size_t served_max,
                                        char *why, size_t why_size)
{
    struct stall_server *server = calloc(1, sizeof *server);
    snprintf(why, why_size, "the stall server cannot start: out of memory");
    if (!server)
        return NULL;
    server->scene = scene;
    server->served_max = served_max;
    server->listen_fd = server->epoll_fd = server->timer_fd = server->stop.event_fd = -1;
    if (served_max > 0)
        server->record.served = calloc(served_max, sizeof server->record.served[0]);
    if ((served_max > 0 && !server->record.served) ||
        !retry_queue_init(&server->queue, CONNECTIONS_MAX))
        goto failed;
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (server->epoll_fd < 0 || server->timer_fd < 0 || !stop_init(&server->stop) ||
        !listen_anywhere(server) || !add(server, server->timer_fd, NULL) ||
        !add(server, server->stop.event_fd, NULL) ||
        !add(server, server->listen_fd, &server->listen_fd) ||
        (errno = pthread_create(&server->thread, NULL, server_main, server))) {
        snprintf(why, why_size, "the stall server cannot start: %s", strerrordesc_np(errno));
        goto failed;
    }
    server->started = true;
    return server;
failed:
    stall_server_free(server);
    return NULL;
}

uint16_t stall_server_port(const struct stall_server *server)
{
    return server->port;
}

const struct stall_record *stall_server_finish(struct stall_server *server)
{
    if (server->started) {
        stop_request(&server->stop, STOP_BY_REST);
        CHECK_PTHREAD(pthread_join(server->thread, NULL));
    }
    server->started = false;
    struct stall_connection *next;
    for (struct stall_connection *connection = LIST_FIRST(&server->connections); connection;
         connection = next) {
        next = LIST_NEXT(connection, link);
        if (connection->fd >= 0)
            close(connection->fd);
        forget(server, connection);
    }
    assert(server->connection_count == 0);
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    server->listen_fd = -1;
    return &server->record;
}

void stall_server_free(struct stall_server *server)
{
    if (!server)
        return;
    stall_server_finish(server);
    retry_queue_destroy(&server->queue);
    if (server->epoll_fd >= 0)
        close(server->epoll_fd);
    if (server->timer_fd >= 0)
        close(server->timer_fd);
    if (server->stop.event_fd >= 0)
        stop_destroy(&server->stop);
    free(server->record.served);
    free(server);
}
