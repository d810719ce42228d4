#include "common/http/acceptor.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

/* How often the connections are looked through for late ones. */
#define WATCH_NS (250 * CLOCK_NS_PER_MS)
/* A port that is full leaves a header or a body so much time: it may be a caller's in a burst. */
#define YOUNG_NS CLOCK_NS_PER_S
/* After accept() failed for want of descriptors or memory: 10, 20, 40 … 500 ms. */
#define BACK_OFF_FIRST_NS (10 * CLOCK_NS_PER_MS)
#define BACK_OFF_MAX_NS   (500 * CLOCK_NS_PER_MS)

/* All fields are under the acceptor's lock, but is_beyond. */
struct http_peer {
    TAILQ_ENTRY(http_peer) link;
    int fd;
    enum http_phase phase;
    int64_t since_ns;
    bool is_ended;  /* by us: it is on its way to be closed */
    bool is_beyond; /* immutable */
};

TAILQ_HEAD(peer_list, http_peer);

/* Lock key: (i) immutable after start, (m) under `lock`, (t) the thread's own, (a) atomic. */
struct http_acceptor {
    struct http_acceptor_config config; /* (i) */
    pthread_t thread;                   /* (i) */
    bool has_thread;                    /* (i) */
    int wake_fd;                        /* (i) an eventfd: stop */
    _Atomic bool stopping;              /* (a) */
    int64_t back_off_ns;                /* (t) 0: the last accept() did not fail */
    int64_t retry_at_ns;                /* (t) when it does not: the next accept() */
    struct log_limit log_limit;
    pthread_mutex_t lock;
    struct peer_list peers; /* (m) */
    unsigned open;          /* (m) those of them that are not ended */
};

static void lock(struct http_acceptor *acceptor)
{
    CHECK_PTHREAD(pthread_mutex_lock(&acceptor->lock));
}

static void unlock(struct http_acceptor *acceptor)
{
    CHECK_PTHREAD(pthread_mutex_unlock(&acceptor->lock));
}

/* Lock held. Its thread sees the end of the stream, and closes. */
static void end_peer(struct http_acceptor *acceptor, struct http_peer *peer)
{
    assert(!peer->is_ended && acceptor->open > 0);
    peer->is_ended = true;
    acceptor->open--;
    (void)shutdown(peer->fd, SHUT_RDWR);
}

static int64_t allowed_ns(const struct http_acceptor *acceptor, enum http_phase phase)
{
    switch (phase) {
    case HTTP_FIRST_HEADER:
        return acceptor->config.header_ns;
    case HTTP_BODY:
        return acceptor->config.body_ns;
    case HTTP_IDLE:
        return acceptor->config.idle_ns;
    case HTTP_AT_WORK:
        break;
    }
    return INT64_MAX;
}

static void end_late_peers(struct http_acceptor *acceptor)
{
    struct http_peer *peer;
    int64_t now_ns = clock_now_ns();
    lock(acceptor);
    TAILQ_FOREACH (peer, &acceptor->peers, link)
        if (!peer->is_ended && now_ns - peer->since_ns > allowed_ns(acceptor, peer->phase))
            end_peer(acceptor, peer);
    unlock(acceptor);
}

static bool is_evictable(const struct http_peer *peer, int64_t now_ns)
{
    if (peer->is_ended)
        return false;
    bool is_young = now_ns - peer->since_ns <= YOUNG_NS;
    return peer->phase == HTTP_IDLE || (peer->phase != HTTP_AT_WORK && !is_young);
}

/* Ends the connection that has waited longest for a request, or its rest. False: there is none.
 * Lock held. */
static bool evict(struct http_acceptor *acceptor)
{
    struct http_peer *peer;
    struct http_peer *oldest = NULL;
    int64_t now_ns = clock_now_ns();
    TAILQ_FOREACH (peer, &acceptor->peers, link)
        if (is_evictable(peer, now_ns) && (!oldest || peer->since_ns < oldest->since_ns))
            oldest = peer;
    if (oldest)
        end_peer(acceptor, oldest);
    return oldest != NULL;
}

/* accept() found no descriptor or memory. The connection stays in the backlog, and the socket
 * readable: without a pause this would spin. */
static void back_off(struct http_acceptor *acceptor, int error)
{
    lock(acceptor);
    bool has_evicted = evict(acceptor);
    unlock(acceptor);
    log_line_limited(&acceptor->log_limit, LOG_WARN, "a connection cannot be accepted",
                     json_pack("{s:s, s:s, s:b}", "server", acceptor->config.name, "error",
                               strerror(error), "oldest_idle_ended", has_evicted));
    acceptor->back_off_ns =
        acceptor->back_off_ns == 0 ? BACK_OFF_FIRST_NS : 2 * acceptor->back_off_ns;
    if (acceptor->back_off_ns > BACK_OFF_MAX_NS)
        acceptor->back_off_ns = BACK_OFF_MAX_NS;
    acceptor->retry_at_ns = clock_now_ns() + acceptor->back_off_ns;
}

/* accept() found nobody, or reports the peer's or the network's own failure (accept(2)): the next
 * one may do. */
static bool is_passing(int error)
{
    static const int errors[] = {EAGAIN, EINTR,        EPERM,      ECONNABORTED,
                                 EPROTO, ENOPROTOOPT,  ENETDOWN,   EHOSTDOWN,
                                 ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (error == errors[i])
            return true;
    return false;
}

static void accept_one(struct http_acceptor *acceptor)
{
    const struct http_acceptor_config *config = &acceptor->config;
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    int fd = accept4(config->listening, (struct sockaddr *)&address, &size,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && !is_passing(errno)) {
        back_off(acceptor, errno);
        return;
    }
    acceptor->back_off_ns = 0;
    if (fd >= 0)
        config->hand_over(config->context, fd, (struct sockaddr *)&address, size);
}

static void *acceptor_main(void *argument)
{
    struct http_acceptor *acceptor = argument;
    int64_t watch_ns = clock_now_ns() + WATCH_NS;
    while (!atomic_load(&acceptor->stopping)) {
        struct pollfd fds[2] = {{.fd = acceptor->wake_fd, .events = POLLIN},
                                {.fd = acceptor->config.listening, .events = POLLIN}};
        bool is_backing_off = acceptor->back_off_ns > 0;
        int64_t until_ns =
            is_backing_off && acceptor->retry_at_ns < watch_ns ? acceptor->retry_at_ns : watch_ns;
        int ready = poll(fds, is_backing_off ? 1 : 2, clock_poll_ms(until_ns, 60000));
        if (is_backing_off ? clock_now_ns() >= acceptor->retry_at_ns : ready > 0 && fds[1].revents)
            accept_one(acceptor);
        if (clock_now_ns() >= watch_ns) {
            end_late_peers(acceptor);
            watch_ns = clock_now_ns() + WATCH_NS;
        }
    }
    return NULL;
}

struct http_acceptor *http_acceptor_open(const struct http_acceptor_config *config)
{
    struct http_acceptor *acceptor = calloc(1, sizeof *acceptor);
    assert(config->hand_over && config->listening >= 0);
    if (!acceptor)
        return NULL;
    acceptor->config = *config;
    acceptor->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (acceptor->wake_fd < 0) {
        free(acceptor);
        return NULL;
    }
    TAILQ_INIT(&acceptor->peers);
    CHECK_PTHREAD(pthread_mutex_init(&acceptor->lock, NULL));
    return acceptor;
}

bool http_acceptor_start(struct http_acceptor *acceptor)
{
    acceptor->has_thread = pthread_create(&acceptor->thread, NULL, acceptor_main, acceptor) == 0;
    return acceptor->has_thread;
}

void http_acceptor_stop(struct http_acceptor *acceptor)
{
    uint64_t one = 1;
    assert(!atomic_load(&acceptor->stopping));
    atomic_store(&acceptor->stopping, true);
    ssize_t written = write(acceptor->wake_fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
    if (acceptor->has_thread)
        CHECK_PTHREAD(pthread_join(acceptor->thread, NULL));
    close(acceptor->config.listening);
}

void http_acceptor_end_bodies(struct http_acceptor *acceptor)
{
    struct http_peer *peer;
    lock(acceptor);
    TAILQ_FOREACH (peer, &acceptor->peers, link)
        if (!peer->is_ended && peer->phase == HTTP_BODY)
            end_peer(acceptor, peer);
    unlock(acceptor);
}

void http_acceptor_free(struct http_acceptor *acceptor)
{
    assert(TAILQ_EMPTY(&acceptor->peers));
    close(acceptor->wake_fd);
    CHECK_PTHREAD(pthread_mutex_destroy(&acceptor->lock));
    free(acceptor);
}

struct http_peer *http_peer_opened(struct http_acceptor *acceptor, int fd)
{
    const struct http_acceptor_config *config = &acceptor->config;
    struct http_peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    lock(acceptor);
    while (acceptor->open >= config->max_connections && evict(acceptor))
        continue; /* more than one where some are beyond the limit */
    *peer = (struct http_peer){.fd = fd,
                               .phase = HTTP_FIRST_HEADER,
                               .since_ns = clock_now_ns(),
                               .is_beyond = acceptor->open >= config->max_connections};
    TAILQ_INSERT_TAIL(&acceptor->peers, peer, link);
    acceptor->open++;
    if (acceptor->open > config->max_connections + config->max_beyond)
        end_peer(acceptor, peer);
    unlock(acceptor);
    return peer;
}

void http_peer_closed(struct http_acceptor *acceptor, struct http_peer *peer)
{
    if (!peer)
        return;
    lock(acceptor);
    TAILQ_REMOVE(&acceptor->peers, peer, link);
    if (!peer->is_ended) {
        assert(acceptor->open > 0);
        acceptor->open--;
    }
    unlock(acceptor);
    free(peer);
}

void http_peer_enters(struct http_acceptor *acceptor, struct http_peer *peer, enum http_phase phase)
{
    if (!peer)
        return;
    lock(acceptor);
    peer->phase = phase;
    peer->since_ns = clock_now_ns();
    unlock(acceptor);
}

bool http_peer_is_beyond(const struct http_peer *peer)
{
    return !peer || peer->is_beyond;
}
