/*
 * What the pool's own files share: db_pool.c (checkout, check-in, wait queue), db_pool_background.c
 * (connecting and draining) and db_pool_report.c (what it tells of itself). Nobody else includes
 * this.
 */
#ifndef FLASHOVER_DB_POOL_INTERNAL_H
#define FLASHOVER_DB_POOL_INTERNAL_H

#include "service/db_pool.h"

#include <pthread.h>

/* A slot counts against max_size in every state but EMPTY, CLOSING included: the server still has
 * that backend. */
enum slot_state {
    SLOT_EMPTY,
    SLOT_CONNECTING,
    SLOT_IDLE,
    SLOT_IN_USE,
    SLOT_DRAINING,
    SLOT_CLOSING,
    SLOT_STATES
};

/* Lock key: (m) under the pool's lock; (o) used by the slot's present owner alone: its holder while
 * IN_USE, a connector thread while CONNECTING, the drainer while DRAINING, whoever closes it while
 * CLOSING. */
struct db_lease {
    enum slot_state state;      /* (m) changed by pool_slot_set_state() only */
    void *connection;           /* (o) NULL while EMPTY and CONNECTING */
    struct db_holder holder;    /* (m) of the present or last holder */
    int64_t drain_deadline_ns;  /* (m) while DRAINING */
    struct db_lease *next_idle; /* (m) while IDLE: the one used before it */
};

/* One thread in the wait queue, on its own stack. All fields (m). */
struct waiter {
    const struct db_checkout *checkout;
    long tid;
    const char *request;
    pthread_cond_t woken;
    struct waiter *previous, *next;
    bool queued;
    struct db_lease *granted;      /* handed over */
    const struct failure *refused; /* or turned away */
};

/* Lock key: (i) immutable after open, (m) under `lock`, (a) atomic. */
struct db_pool {
    struct db_pool_config config; /* (i) */
    pthread_mutex_t lock;
    bool closing;                 /* (m) */
    struct db_lease *slots;       /* (i) the array; its elements as struct db_lease says */
    unsigned counts[SLOT_STATES]; /* (m) */
    struct db_lease *idle;        /* (m) most recently used first: the others can grow old */
    struct waiter *first,
        *last;        /* (m) the wait queue; while `idle` is not empty, only the late stand in it */
    unsigned waiting; /* (m) its length */
    unsigned next_connection_id; /* (m) */

    pthread_cond_t connector_work; /* (m) a connect may be needed */
    pthread_t *connectors;         /* (i) max_connecting of them */
    unsigned connector_count;      /* (i) */
    bool failing; /* (m) the last connect failed; connectors go on trying one at a time */
    struct failure last_failure; /* (m) of that connect */
    int64_t retry_at_ns;         /* (m) not before then */
    int64_t back_off_ns;         /* (m) */

    pthread_t drainer;   /* (i) */
    int drainer_wake_fd; /* (i) an eventfd: the set of DRAINING slots has grown, or the pool closes
                          */

    struct failure closed; /* (i) what a checkout from a closed pool is told */

    _Atomic uint64_t timeouts;            /* (a) */
    struct metrics_histogram create_time; /* (a) */
    struct metrics_histogram wait_time;   /* (a) */
    struct metrics_histogram use_time;    /* (a) from hand-over to check-in */
};

/* The one place where a slot's state changes: moves the counters, asserts the old state. Lock held.
 */
void pool_slot_set_state(struct db_pool *pool, struct db_lease *slot, enum slot_state from,
                         enum slot_state to);

/* Gives a slot that nobody owns to the longest waiter that may have it, or makes it idle. Lock
 * held. */
void pool_hand_over(struct db_pool *pool, struct db_lease *slot, enum slot_state from);

/* Turns all waiters away with `reason`, which must live as long as the pool. Lock held. */
void pool_refuse_waiters(struct db_pool *pool, const struct failure *reason);

/* Closes a slot's connection and empties the slot. Lock not held; the caller owns the slot, which
 * is CLOSING. */
void pool_close_slot(struct db_pool *pool, struct db_lease *slot);

/* True when no connection is left that a waiter could hope for. Lock held. */
bool pool_is_down(const struct db_pool *pool);

/* Starts connectors and drainer; false when a thread could not be started (those that were, are
 * stopped). */
bool pool_background_start(struct db_pool *pool);

/* Ends and joins them. `closing` is set, the lock is not held. */
void pool_background_stop(struct db_pool *pool);

/* The drainer looks again. */
void pool_wake_drainer(const struct db_pool *pool);

#endif
