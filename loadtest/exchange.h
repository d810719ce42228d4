/*
 * A place for one request, and the connection that it uses. A worker keeps each of its places in
 * exactly one list: in flight (the oldest first), idle (its connection is open) or spare (closed).
 */
#ifndef FLASHOVER_LOADTEST_EXCHANGE_H
#define FLASHOVER_LOADTEST_EXCHANGE_H

#include "loadtest/connection.h"
#include "loadtest/load_stats.h"
#include "loadtest/schedule.h"

enum load_check { LOAD_CHECK_STATUS, LOAD_CHECK_FEED };

struct exchange {
    struct connection connection;
    struct schedule_arrival arrival;
    unsigned retries; /* attempts beyond the first */
    bool waits;       /* in flight, between two attempts */
    struct exchange *next;
    struct exchange *previous; /* in flight and idle */
};

struct exchange_list {
    struct exchange *first;
    struct exchange *last;
};

void exchange_list_append(struct exchange_list *list, struct exchange *exchange);
void exchange_list_remove(struct exchange_list *list, struct exchange *exchange);

/* Takes the last of the list, or the first of *spare, or makes a new place in the epoll set. NULL
 * without memory. */
struct exchange *exchange_take(struct exchange_list *idle, struct exchange **spare, int epoll_fd)
    __attribute__((warn_unused_result));

/* Closes and frees a chain of places. */
void exchange_free_all(struct exchange *first);

/* Sends, or begins to send, the request on the place's connection. */
enum connection_result exchange_start(struct exchange *exchange, const struct target *target,
                                      enum load_check check);

/* OK, WRONG or HTTP_ERROR, for an answer that is whole. For the latter two *row says what it was
 * (not how often or when); the defects of a wrong body are added to `defects`. */
enum outcome exchange_judge(const struct exchange *exchange, enum load_check check, uint32_t items,
                            struct feed_defects *defects, struct error_row *row);

#endif
