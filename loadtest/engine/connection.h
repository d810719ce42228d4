/*
 * One non-blocking HTTP connection: connects, sends a request, reads the answer, is kept for the
 * next. It lives in one epoll set and is used by one thread.
 */
#ifndef FLASHOVER_LOADTEST_ENGINE_CONNECTION_H
#define FLASHOVER_LOADTEST_ENGINE_CONNECTION_H

#include "loadtest/engine/response_parser.h"
#include "loadtest/plan/target.h"

#include <stdint.h>

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_CONNECTING,
    CONNECTION_SENDING,
    CONNECTION_RECEIVING,
    CONNECTION_IDLE, /* open, with no request on it */
};

/* What a step came to. All but PENDING and ANSWERED leave the connection closed. */
enum connection_result {
    CONNECTION_PENDING,        /* wait for the next event */
    CONNECTION_ANSWERED,       /* `response` is whole */
    CONNECTION_CONNECT_FAILED, /* `problem` says why */
    CONNECTION_CUT_OFF,        /* reset or closed before the answer was whole */
    CONNECTION_BROKEN,         /* what came back is no HTTP */
    CONNECTION_IDLE_CLOSED,    /* it was idle; no request is affected */
};

struct connection {
    enum connection_state state;
    int fd;       /* -1 when closed */
    int epoll_fd; /* the set it is in */
    void *owner;  /* what epoll_event.data.ptr becomes */
    struct response_parser response;
    const struct target *target;
    unsigned address;    /* of the target's, the one that the last connect reached */
    unsigned tried;      /* so many of them the present connect has tried in vain */
    int connect_error;   /* and why the first of those failed; 0: none has */
    const char *problem; /* fixed text, after a failure */
    int error;           /* errno behind CONNECT_FAILED; else 0 */
    /* Monotonic times of the request; 0: not yet. */
    int64_t connect_at_ns;    /* when its own connect was begun; stays 0 on a kept connection */
    int64_t connected_at_ns;  /* and when it was through */
    int64_t sent_at_ns;       /* when the first byte was handed to the kernel */
    int64_t first_byte_at_ns; /* when the first byte of the answer was there */
    char request[TARGET_REQUEST_SIZE];
    size_t request_size;
    size_t request_sent;
};

/* A closed connection whose events carry `owner`. */
void connection_init(struct connection *connection, int epoll_fd, void *owner);

/* Starts a request for `feed_id` on a closed or an idle connection. A connect tries what the
 * target's name has, the address that was reached last first. `target` must outlive the request. */
enum connection_result connection_start(struct connection *connection, const struct target *target,
                                        uint32_t feed_id, size_t body_limit_bytes,
                                        enum response_excess excess);

/* Goes on after epoll reported the connection. `buffer` is scratch space of the caller. */
enum connection_result connection_step(struct connection *connection, char *buffer,
                                       size_t buffer_size);

/* After ANSWERED: keeps the connection if it can be kept (idle), else closes it. */
void connection_finish(struct connection *connection);

/* Gives up whatever is going on. */
void connection_close(struct connection *connection);

/* Closes and frees what the connection owns. */
void connection_destroy(struct connection *connection);

#endif
