/*
 * What happens in a pool, as CMAP (Connection Monitoring and Pooling) names it: one event for each
 * step of the pool, of a connection and of a checkout. Events are small values, made under the
 * pool's lock and in its order.
 */
#ifndef FLASHOVER_SERVICE_POOL_EVENT_H
#define FLASHOVER_SERVICE_POOL_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum db_pool_event_type {
    POOL_CREATED,
    POOL_READY,
    POOL_CLEARED, /* `interrupt` */
    POOL_CLOSED,
    CONNECTION_CREATED, /* connection_id, as all below unless they say otherwise */
    CONNECTION_READY,   /* duration_ns: from CREATED */
    CONNECTION_CLOSED,  /* reason */
    CHECK_OUT_STARTED,  /* no connection_id */
    CHECK_OUT_FAILED,   /* no connection_id; reason, duration_ns: from STARTED */
    CHECKED_OUT,        /* duration_ns: from STARTED */
    CHECKED_IN,
    DB_POOL_EVENT_TYPES
};

/* Why a connection was closed, or a checkout failed. Lifetime, queueFull, nestedCheckout and
 * calledOff are not CMAP's. */
enum db_pool_reason {
    REASON_NONE,
    CLOSED_STALE, /* of a generation before the last clear or renewal */
    CLOSED_IDLE,  /* idle for too long */
    CLOSED_ERROR,
    CLOSED_POOL_CLOSED,
    CLOSED_LIFETIME, /* open for too long */
    FAILED_POOL_CLOSED,
    FAILED_TIMEOUT,
    FAILED_CONNECTION_ERROR, /* the pool is paused, or was cleared meanwhile */
    FAILED_QUEUE_FULL,
    FAILED_NESTED,     /* every connection's holder was waiting for another */
    FAILED_CALLED_OFF, /* its group was called off */
    DB_POOL_REASONS
};

struct db_pool_event {
    int64_t at_ns;          /* monotonic */
    int64_t duration_ns;    /* of the types that have one */
    long tid;               /* the thread that made it happen */
    unsigned connection_id; /* 0: none */
    enum db_pool_event_type type;
    enum db_pool_reason reason;
    bool interrupt;   /* POOL_CLEARED: connections in use were interrupted */
    char request[32]; /* that this thread works for, cut short; "" for a background thread */
};

/* CMAP's name of the event, as in its test files: "ConnectionCheckedOut". */
const char *db_pool_event_name(enum db_pool_event_type type);

/* CMAP's name of the reason: "poolClosed"; "" for none. */
const char *db_pool_reason_name(enum db_pool_reason reason);

struct db_pool;

/* The flight recorder: copies the last events, oldest first, into a new array that the caller
 * frees, and returns how many there are. *events is NULL without memory or without a recorder. */
size_t db_pool_events(struct db_pool *pool, struct db_pool_event **events);

#endif
