#include "loadtest/engine/connection.h"

#include "common/check.h"
#include "common/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

void connection_init(struct connection *connection, int epoll_fd, void *owner)
{
    *connection = (struct connection){.fd = -1, .epoll_fd = epoll_fd, .owner = owner};
}

/* Moves to the next state and waits for what that state needs: room to write, or bytes to read. */
static void set_state(struct connection *connection, enum connection_state state)
{
    bool writes = state == CONNECTION_CONNECTING || state == CONNECTION_SENDING;
    bool wrote =
        connection->state == CONNECTION_CONNECTING || connection->state == CONNECTION_SENDING;
    bool is_new = connection->state == CONNECTION_CLOSED;
    assert(connection->fd >= 0 && state != CONNECTION_CLOSED);
    connection->state = state;
    if (!is_new && writes == wrote)
        return;
    struct epoll_event event = {.events = writes ? EPOLLOUT : EPOLLIN,
                                .data.ptr = connection->owner};
    int failed = epoll_ctl(connection->epoll_fd, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
                           connection->fd, &event);
    assert(!failed);
}

void connection_close(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd); /* leaves the epoll set by that */
    connection->fd = -1;
    connection->state = CONNECTION_CLOSED;
}

static enum connection_result fail(struct connection *connection, enum connection_result result,
                                   const char *problem)
{
    connection->problem = problem;
    connection_close(connection);
    return result;
}

static enum connection_result connect_failed(struct connection *connection, int error)
{
    connection->error = error;
    return fail(connection, CONNECTION_CONNECT_FAILED, strerrordesc_np(error));
}

static enum connection_result cut_off(struct connection *connection, int error)
{
    if (connection->state == CONNECTION_IDLE)
        return fail(connection, CONNECTION_IDLE_CLOSED, NULL);
    if (error)
        return fail(connection, CONNECTION_CUT_OFF, strerrordesc_np(error));
    return fail(connection, CONNECTION_CUT_OFF,
                connection->response.any_bytes ? "Connection closed in the middle of the answer"
                                               : "Connection closed before any answer");
}

static enum connection_result send_request(struct connection *connection)
{
    if (connection->sent_at_ns == 0)
        connection->sent_at_ns = clock_now_ns();
    while (connection->request_sent < connection->request_size) {
        ssize_t sent = send(connection->fd, connection->request + connection->request_sent,
                            connection->request_size - connection->request_sent, MSG_NOSIGNAL);
        if (sent >= 0) {
            connection->request_sent += (size_t)sent;
        } else if (errno == EAGAIN) {
            set_state(connection, CONNECTION_SENDING);
            return CONNECTION_PENDING;
        } else if (errno != EINTR) {
            return cut_off(connection, errno);
        }
    }
    set_state(connection, CONNECTION_RECEIVING);
    return CONNECTION_PENDING;
}

static const struct target_address *present_address(const struct connection *connection)
{
    const struct target *target = connection->target;
    assert(target->address_count > 0 && target->address_count <= TARGET_ADDRESSES_MAX);
    return &target->addresses[(connection->address + connection->tried) % target->address_count];
}

/* The first one's error tells: the others are tried in its place, and may never have been meant. */
static void note_error(struct connection *connection, int error)
{
    if (connection->connect_error == 0)
        connection->connect_error = error;
}

/* Begins to connect to the first address, from the present one on, that does not refuse at once. */
static enum connection_result try_addresses(struct connection *connection)
{
    int one = 1;
    for (; connection->tried < connection->target->address_count; connection->tried++) {
        const struct target_address *address = present_address(connection);
        connection->fd =
            socket(address->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connection->fd < 0)
            return connect_failed(connection, errno);
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        int failed =
            connect(connection->fd, (const struct sockaddr *)&address->socket, address->size_bytes);
        if (!failed || errno == EINPROGRESS) {
            set_state(connection, CONNECTION_CONNECTING);
            return CONNECTION_PENDING;
        }
        note_error(connection, errno);
        connection_close(connection);
    }
    return connect_failed(connection, connection->connect_error);
}

static enum connection_result open_connection(struct connection *connection,
                                              const struct target *target)
{
    connection->connect_at_ns = clock_now_ns();
    connection->target = target;
    connection->tried = 0;
    connection->connect_error = 0;
    return try_addresses(connection);
}

enum connection_result connection_start(struct connection *connection, const struct target *target,
                                        uint32_t feed_id, size_t body_limit_bytes,
                                        enum response_excess excess)
{
    assert(connection->state == CONNECTION_CLOSED || connection->state == CONNECTION_IDLE);
    response_parser_begin(&connection->response, body_limit_bytes, excess);
    connection->request_size = target_write_request(target, feed_id, connection->request);
    connection->request_sent = 0;
    connection->connect_at_ns = connection->connected_at_ns = 0;
    connection->sent_at_ns = connection->first_byte_at_ns = 0;
    connection->problem = NULL;
    connection->error = 0;
    if (connection->state == CONNECTION_CLOSED)
        return open_connection(connection, target);
    connection->state = CONNECTION_RECEIVING; /* watched for reading already */
    return send_request(connection);
}

static enum connection_result finish_connect(struct connection *connection)
{
    int error = 0;
    socklen_t size = sizeof error;
    int failed = getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    assert(!failed);
    if (error == ECONNRESET || error == EPIPE) /* the kernel's words for what had been connected */
        return cut_off(connection, error);
    if (error) {
        note_error(connection, error);
        connection_close(connection);
        connection->tried++;
        return try_addresses(connection);
    }
    connection->address =
        (connection->address + connection->tried) % connection->target->address_count;
    connection->tried = 0;
    connection->connected_at_ns = clock_now_ns();
    return send_request(connection);
}

static enum connection_result receive(struct connection *connection, char *buffer,
                                      size_t buffer_size)
{
    ssize_t size = recv(connection->fd, buffer, buffer_size, 0);
    if (size < 0)
        return errno == EAGAIN || errno == EINTR ? CONNECTION_PENDING : cut_off(connection, errno);
    if (connection->state == CONNECTION_IDLE) /* bytes that nobody asked for, or the end */
        return cut_off(connection, 0);
    if (connection->first_byte_at_ns == 0 && size > 0)
        connection->first_byte_at_ns = clock_now_ns();
    enum response_progress progress =
        size > 0 ? response_parser_feed(&connection->response, buffer, (size_t)size)
                 : response_parser_end(&connection->response);
    switch (progress) {
    case RESPONSE_MORE:
        return CONNECTION_PENDING;
    case RESPONSE_DONE:
        return CONNECTION_ANSWERED;
    case RESPONSE_CUT:
        return cut_off(connection, 0);
    case RESPONSE_BROKEN:
        break;
    }
    return fail(connection, CONNECTION_BROKEN, connection->response.problem);
}

enum connection_result connection_step(struct connection *connection, char *buffer,
                                       size_t buffer_size)
{
    switch (connection->state) {
    case CONNECTION_CLOSED:
        break;
    case CONNECTION_CONNECTING:
        return finish_connect(connection);
    case CONNECTION_SENDING:
        return send_request(connection);
    case CONNECTION_RECEIVING:
    case CONNECTION_IDLE:
        return receive(connection, buffer, buffer_size);
    }
    assert(false && "a closed connection has no events");
    return CONNECTION_PENDING;
}

void connection_finish(struct connection *connection)
{
    assert(connection->state == CONNECTION_RECEIVING && connection->response.complete);
    if (connection->response.keep_alive && connection->request_sent == connection->request_size)
        connection->state = CONNECTION_IDLE;
    else
        connection_close(connection);
}

void connection_destroy(struct connection *connection)
{
    connection_close(connection);
    response_parser_destroy(&connection->response);
}
