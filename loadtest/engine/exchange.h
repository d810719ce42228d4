/*
 * A place for one request, and the connection that it uses. A worker keeps each of its places in
 * exactly one list: in flight (the oldest first), idle (its connection is open) or closed.
 */
#ifndef FLASHOVER_LOADTEST_ENGINE_EXCHANGE_H
#define FLASHOVER_LOADTEST_ENGINE_EXCHANGE_H

#include "loadtest/books/load_stats.h"
#include "loadtest/engine/connection.h"
#include "loadtest/plan/segments.h"

#include <sys/queue.h>

struct exchange {
    struct connection connection;
    struct schedule_arrival arrival;
    const struct load_segment *segment; /* what the request is and what its answer should be */
    bool is_probe;                      /* see seconds.h */
    unsigned retries;                   /* attempts beyond the first */
    bool waits;                         /* in flight, between two attempts */
    TAILQ_ENTRY(exchange) link;         /* in the one list it is in */
};

TAILQ_HEAD(exchange_list, exchange);

/* Takes the last of `idle`, or the first of `closed`, or makes a new place in the epoll set. NULL
 * without memory. */
struct exchange *exchange_take(struct exchange_list *idle, struct exchange_list *closed,
                               int epoll_fd) __attribute__((warn_unused_result));

/* Closes and frees the places of a list. */
void exchange_free_all(struct exchange_list *list);

/* Sends, or begins to send, the request on the place's connection. */
enum connection_result exchange_start(struct exchange *exchange, enum load_check check);

/* Books what an attempt that has ended cost: the connect, and what the machine was out of. */
void exchange_count_attempt(const struct exchange *exchange, struct load_stats *stats);

/* OK, WRONG or HTTP_ERROR, for an answer that is whole. For the latter two *row says what it was
 * (not how often or when); the defects of a wrong body are added to `defects`. */
enum outcome exchange_judge(const struct exchange *exchange, enum load_check check,
                            struct feed_defects *defects, struct error_row *row);

#endif
