/*
 * What the pool's own files share: db_pool.c (open to free), db_pool_checkout.c (checkout,
 * check-in), db_pool_queue.c (the wait queue, hand-over), db_pool_group.c (calling off),
 * db_pool_slots.c (a connection's states), db_pool_connect.c, db_pool_tend.c, db_pool_cancel.c and
 * db_pool_background.c (the background threads) and db_pool_recorder.c and db_pool_report.c (what
 * it tells of itself). Nobody else includes this.
 */
#ifndef FLASHOVER_DB_POOL_INTERNAL_H
#define FLASHOVER_DB_POOL_INTERNAL_H

#include "service/db_pool.h"

#include <pthread.h>
#include <semaphore.h>

/* A slot counts against max_size in every state but EMPTY. */
enum slot_state {
    SLOT_EMPTY,
    SLOT_CONNECTING, /* CMAP: pending */
    SLOT_IDLE,       /* CMAP: available */
    SLOT_IN_USE,
    SLOT_DRAINING,   /* nobody waits for the answer any more; the tender reads it */
    SLOT_CANCELLING, /* as that, and the canceller may be at it: not to be handed on until it is
                        done */
    SLOT_CLOSING,    /* the tender closes it, and waits until the server has let go of it */
    SLOT_STATES
};

/* Whether the server has taken the cancel. When it failed, it may still come. */
enum cancel_outcome { CANCEL_PENDING, CANCEL_TAKEN, CANCEL_FAILED };

/* Lock key: (m) under the pool's lock; (o) used by the slot's present owner alone: its holder while
 * IN_USE, a connector thread while CONNECTING, the tender while DRAINING, CANCELLING or CLOSING. */
struct db_lease {
    enum slot_state state; /* (m) changed by pool_slot_set_state() only */
    void *connection;      /* (o) NULL while EMPTY and CONNECTING, and once it is closed */
    int closing_fd;        /* (o) while CLOSING, once it is closed: end-of-file frees the slot */
    unsigned generation;   /* (m) the pool's, when it was created */
    bool is_closed;        /* (m) its ConnectionClosed is out: interrupted, or CLOSING */
    struct pool_connector *by;  /* (m) while CONNECTING */
    struct db_holder holder;    /* (m) of the present or last holder */
    int64_t idle_since_ns;      /* (m) while IDLE */
    int64_t expires_at_ns;      /* (m) its lifetime's end */
    int64_t tend_until_ns;      /* (o) while the tender's: no longer than that */
    enum cancel_outcome cancel; /* (m) while CANCELLING */
    struct db_lease *next_idle; /* (m) while IDLE: the one used before it */
};

/* One thread in the wait queue, on its own stack. All fields (m), but for `woken`, which is posted
 * with or without the lock, `posts` times: when the waiter is decided on, or is to wait for longer.
 * It stays until it has taken all of them. */
struct waiter {
    const struct db_checkout *checkout;
    int64_t from_ns, deadline_ns;
    long tid;
    const char *request; /* THREAD_REQUEST_SIZE bytes */
    sem_t woken;
    unsigned posts;
    struct waiter *previous, *next;
    bool queued;
    struct db_lease *granted;      /* handed over */
    const struct failure *refused; /* or turned away */
    enum db_pool_reason reason;    /* and why */
    unsigned held;                 /* connections that its thread holds already */
    uint64_t checkins_before;      /* the pool's count when it came */
};

/* A thread that connects. */
struct pool_connector {
    struct db_pool *pool; /* (i) */
    pthread_t thread;     /* (i) */
    int interrupt_fd;     /* (i) an eventfd: give up the connect under way */
};

/* One query to be cancelled; owned by the canceller's list, then by the canceller. */
struct pool_cancel {
    struct pool_cancel *next;
    void *cancel; /* the connector's */
    struct db_lease *slot;
    unsigned connection_id; /* whether the slot still has that connection */
};

/* Lock key: (i) immutable after open, (m) under `lock`, (a) atomic. */
struct db_pool {
    struct db_pool_config config; /* (i) */
    pthread_mutex_t lock;
    enum db_pool_state state;     /* (m) */
    unsigned generation;          /* (m) */
    struct db_lease *slots;       /* (i) the array; its elements as struct db_lease says */
    unsigned counts[SLOT_STATES]; /* (m) */
    struct db_lease *idle;        /* (m) most recently used first: the others can grow old */
    struct waiter *first,
        *last;        /* (m) the wait queue; while `idle` is not empty, only the late stand in it */
    unsigned waiting; /* (m) its length */
    unsigned connecting; /* (m) connects under way of this generation */
    unsigned awaited;    /* (m) so many of them are for as many waiters, the first in the queue */
    unsigned held_by_waiting;    /* (m) connections whose holders stand in the queue */
    unsigned next_connection_id; /* (m) */
    uint64_t checkins;           /* (m) */
    int64_t held_ns;             /* (m) by all of them together */
    struct failure cleared;      /* (m) what a checkout from a paused pool is told */
    struct failure closed;       /* (i) and from a closed one */
    struct failure nested;       /* (i) and where it would never end */
    struct failure called_off;   /* (i) and where a sibling failed */

    struct db_pool_event *ring; /* (m) recorder_events of them, or NULL; the array (i) */
    uint64_t recorded;          /* (m) events so far */

    struct db_pool_view last_timeout;       /* (m) its holders are the array behind it */
    struct db_holder *last_timeout_holders; /* (i) max_size of them */
    int64_t last_timeout_ns;                /* (m) of the very last; 0: none yet */
    bool episode_began;                     /* (m) and on_episode was not called for it yet */

    pthread_cond_t connector_work;     /* (m) a connect may be needed */
    struct pool_connector *connectors; /* (i) max_connecting of them */
    unsigned connector_count;          /* (i) */
    int64_t retry_at_ns;               /* (m) no connect before then */
    int64_t back_off_ns;               /* (m) 0: the last connect succeeded */
    struct failure connect_failure;    /* (m) the last one */
    int64_t connect_failure_ns;        /* (m) when */
    unsigned connect_failures;         /* (m) in a row */
    int64_t mean_connect_ns;           /* (m) moving average; 0: none yet */
    uint64_t random;                   /* (m) state of the jitter's generator */

    pthread_t tender;   /* (i) */
    int tender_wake_fd; /* (i) an eventfd: something came to be drained or closed */

    pthread_t canceller;                            /* (i) */
    bool is_cancel_under_way, has_canceller_ended;  /* (m) */
    pthread_cond_t cancel_work;                     /* (m) a cancel was queued, or the pool ends */
    struct pool_cancel *cancel_first, *cancel_last; /* (m) */
    unsigned cancels_queued;                        /* (m) */

    pthread_t background;           /* (i) */
    bool has_background;            /* (i) */
    pthread_cond_t background_work; /* (m) run now */
    bool background_due;            /* (m) */
    bool is_ending;                 /* (m) being freed */

    _Atomic uint64_t timeouts;            /* (a) */
    struct metrics_histogram create_time; /* (a) */
    struct metrics_histogram wait_time;   /* (a) */
    struct metrics_histogram use_time;    /* (a) from hand-over to check-in */
};

/* ---- db_pool_recorder.c */

/* False without memory. */
bool pool_recorder_init(struct db_pool *pool);

/* Records an event and tells whoever listens. Thread and request are set here, and at_ns where it
 * is 0. Lock held. */
void pool_emit(struct db_pool *pool, struct db_pool_event event);

/* ---- db_pool_report.c */

/* A checkout timed out: what the pool looked like is kept, and an episode may begin. Lock held. */
void pool_note_timeout(struct db_pool *pool, const struct waiter *waiter, int64_t now_ns);

/* ---- db_pool.c */

/* db_pool_ready() and db_pool_clear() with the lock held. */
void pool_make_ready(struct db_pool *pool);
void pool_clear(struct db_pool *pool, const struct failure *cause, bool interrupt);

#endif
