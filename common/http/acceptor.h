/*
 * Accepts a port's connections, in a thread of its own, and watches each until it is closed. It
 * ends those whose peers keep it waiting: for a request's header, for its body, or with nothing to
 * do. libmicrohttpd's own timeout counts inactivity, so that a byte now and then renews it for
 * ever.
 *
 * When the port is full, the connection goes that has waited longest for a request, or for the rest
 * of one. Only when all are at work, or came within the last second, a new one is beyond the limit:
 * the server refuses its request.
 *
 * One lock guards the list of connections. While a connection is on it, its descriptor is open, so
 * none is ended that was closed and used anew: libmicrohttpd closes it after http_peer_closed().
 */
#ifndef FLASHOVER_COMMON_HTTP_ACCEPTOR_H
#define FLASHOVER_COMMON_HTTP_ACCEPTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct http_acceptor;

/* A connection. */
struct http_peer;

/* What a connection is at. */
enum http_phase {
    HTTP_FIRST_HEADER, /* it was accepted, and has sent no whole header yet */
    HTTP_BODY,         /* a header came */
    HTTP_AT_WORK,      /* a whole request came; its answer is not sent yet */
    HTTP_IDLE,         /* it was answered, and has sent no whole header since */
};

struct http_acceptor_config {
    const char *name; /* the port's, in logs */
    int listening;    /* the socket; non-blocking; the acceptor's to close */
    unsigned max_connections;
    /* So many more are answered beyond the limit; after them new ones are closed at once. */
    unsigned max_beyond;
    /* Takes over an accepted socket; http_peer_opened() and http_peer_closed() follow, from any
     * thread, or neither where it fails. */
    void (*hand_over)(void *context, int fd, const struct sockaddr *address, socklen_t size);
    void *context;
    /* How long a peer may take, in ns: from the accept to its first whole header, from a header to
     * the end of the body, and from an answer to the next header. */
    int64_t header_ns, body_ns, idle_ns;
};

/* `config` is copied. NULL without memory or descriptor. */
struct http_acceptor *http_acceptor_open(const struct http_acceptor_config *config)
    __attribute__((warn_unused_result));

/* Starts the thread. False: it cannot be made. */
bool http_acceptor_start(struct http_acceptor *acceptor) __attribute__((warn_unused_result));

/* Takes no more connections: ends the thread, if it was started, and closes the socket. Those that
 * are open stay, and are watched no longer. Call once. */
void http_acceptor_stop(struct http_acceptor *acceptor);

/* Ends the connections whose request has begun and not ended. */
void http_acceptor_end_bodies(struct http_acceptor *acceptor);

/* Frees a stopped acceptor; every connection is closed. */
void http_acceptor_free(struct http_acceptor *acceptor);

/* A connection is open. NULL without memory: it counts as beyond the limit, and is not watched. */
struct http_peer *http_peer_opened(struct http_acceptor *acceptor, int fd);

/* The connection is about to be closed; NULL is allowed. */
void http_peer_closed(struct http_acceptor *acceptor, struct http_peer *peer);

/* Its next phase. NULL is allowed. */
void http_peer_enters(struct http_acceptor *acceptor, struct http_peer *peer,
                      enum http_phase phase);

/* Whether it was beyond the limit when it came. */
bool http_peer_is_beyond(const struct http_peer *peer);

#endif
