/*
 * What the pool's own files share. They use each other in one direction only:
 *
 *     pool.c                                     open, close, free
 *     connect.c  tend.c  cancel.c  background.c  the threads; the tender begins cancels
 *     checkout.c  state.c                        checkout, check-in; ready, clear, close
 *     queue.c                                    the wait queue, the hand-over, call off
 *     slots.c  policy.c                          a connection's states; CMAP's way and ours
 *     report.c  recorder.c  lock.c               counts, holders, metrics; events; the lock
 *
 * Nobody else includes this.
 */
#ifndef FLASHOVER_SERVICE_POOL_POOL_PRIVATE_H
#define FLASHOVER_SERVICE_POOL_POOL_PRIVATE_H

#include "service/pool/pool.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/queue.h>

/* A slot counts against max_size in every state but EMPTY. */
enum slot_state {
    SLOT_EMPTY,
    SLOT_CONNECTING, /* CMAP: pending */
    SLOT_IDLE,       /* CMAP: available */
    SLOT_IN_USE,
    SLOT_DRAINING,   /* its caller gave up; the tender reads the rest of the answer */
    SLOT_CANCELLING, /* as DRAINING, and a cancel may be under way: not handed on before it ends */
    SLOT_CLOSING,    /* the tender closes it and waits until the server lets go of it */
    SLOT_STATES
};

/* Whether the server has taken the cancel. A failed one may still reach the server. */
enum cancel_outcome { CANCEL_PENDING, CANCEL_TAKEN, CANCEL_FAILED };

/* Lock key: (m) under the pool's lock; (o) only its present owner uses it: its holder while
 * IN_USE, a connector thread while CONNECTING, the tender while DRAINING, CANCELLING or CLOSING. */
struct db_slot {
    enum slot_state state; /* (m) changed by pool_slot_set_state() only */
    void *connection;      /* (o) NULL while EMPTY and CONNECTING, and once it is closed */
    int closing_fd;        /* (o) while CLOSING, once it is closed: end-of-file empties the slot */
    unsigned generation;   /* (m) the pool's, when it was created */
    bool is_closed;        /* (m) ConnectionClosed was emitted: interrupted, or CLOSING */
    struct pool_connector *by;     /* (m) while CONNECTING */
    struct db_holder holder;       /* (m) of the present or last holder */
    int64_t idle_since_ns;         /* (m) while IDLE */
    int64_t expires_at_ns;         /* (m) its lifetime's end */
    int64_t tend_until_ns;         /* (o) while the tender's: its deadline */
    enum cancel_outcome cancel;    /* (m) while CANCELLING */
    LIST_ENTRY(db_slot) idle_link; /* (m) while IDLE */
};

/* One thread in the wait queue; on its own stack. All fields (m), except `woken`: it is posted with
 * or without the lock, `posts` times in all, when the waiter gets its decision or a later deadline.
 * The waiter returns after it has taken all posts. */
struct waiter {
    const struct db_checkout *checkout;
    int64_t from_ns, deadline_ns;
    long tid;
    const char *request; /* THREAD_REQUEST_SIZE bytes */
    uint64_t turn;       /* the thread's */
    sem_t woken;
    unsigned posts;
    TAILQ_ENTRY(waiter) link; /* while `queued` */
    bool queued;
    struct db_slot *granted;       /* the decision: this slot, */
    const struct failure *refused; /* or this refusal, */
    enum db_pool_reason reason;    /* with its reason */
    unsigned held;                 /* connections that its thread has checked out */
    uint64_t finished_before;      /* the pool's count when it came, */
    int64_t served_before_ns;      /* and its sum */
};

/* A thread that connects. */
struct pool_connector {
    struct db_pool *pool; /* (i) */
    pthread_t thread;     /* (i) */
    int interrupt_fd;     /* (i) an eventfd: ends the connect under way */
};

/* One query to be cancelled. The list of cancels owns it, then the canceller. */
struct pool_cancel {
    STAILQ_ENTRY(pool_cancel) link;
    void *cancel; /* what the connector prepared */
    struct db_slot *slot;
    unsigned connection_id; /* the slot's then; another one now: the job is void */
};

LIST_HEAD(slot_list, db_slot);
TAILQ_HEAD(waiter_queue, waiter);
STAILQ_HEAD(cancel_queue, pool_cancel);

/* Lock key: (i) immutable after open, (m) under `mutex`, (a) atomic. */
struct db_pool {
    struct db_pool_config config; /* (i) */
    pthread_mutex_t mutex;        /* only lock.h uses it */
    const char *_Atomic owner;    /* (a) the mark of the thread that holds it, or NULL */
    enum db_pool_state state;     /* (m) */
    unsigned generation;          /* (m) */
    struct db_slot *slots;        /* (i) the array; for its elements see struct db_slot */
    unsigned counts[SLOT_STATES]; /* (m) */
    struct slot_list idle;        /* (m) the last used first, so that the others can grow old */
    struct waiter_queue queue;    /* (m) empty while a slot is idle, except for late waiters */
    unsigned waiting;             /* (m) the queue's length */
    unsigned connecting;          /* (m) connects under way of this generation */
    unsigned awaited;             /* (m) so many of them are for the first waiters; CMAP's policy */
    unsigned held_by_waiting;     /* (m) connections whose holders stand in the queue */
    unsigned next_connection_id;  /* (m) */
    uint64_t checkins;            /* (m) */
    uint64_t finished;            /* (m) those of them without an answer still to come */
    int64_t served_ns;            /* (m) the sum of their uses */
    int64_t held_ns;              /* (m) the sum of all uses */
    struct failure cleared;       /* (m) the failure of a checkout from a paused pool, */
    struct failure closed;        /* (i) from a closed one, */
    struct failure nested;        /* (i) of one that would wait for ever, */
    struct failure called_off;    /* (i) and of one whose group was called off */

    struct db_pool_event *ring; /* (m) recorder_events long, or NULL; the pointer (i) */
    uint64_t recorded;          /* (m) events so far */

    struct db_pool_view last_timeout;       /* (m) holders: last_timeout_holders */
    struct db_holder *last_timeout_holders; /* (i) max_size of them */
    struct db_holder **awaiting;            /* (m) room for max_size, while a view is filled */
    int64_t last_timeout_ns; /* (m) when; last_timeout may be 50 ms older; 0: none yet */
    bool episode_began;      /* (m) on_episode is due */

    pthread_cond_t connector_work;     /* (m) a connect may be needed */
    struct pool_connector *connectors; /* (i) max_connecting of them */
    unsigned connector_count;          /* (i) */
    int64_t retry_at_ns;               /* (m) no connect before then */
    int64_t back_off_ns;               /* (m) 0: the last connect succeeded */
    struct failure connect_failure;    /* (m) the last one */
    int64_t connect_failure_ns;        /* (m) when */
    unsigned connect_failures;         /* (m) in a row */
    int64_t tried_ns;                  /* (m) when the last connect ended; 0: none yet */
    int64_t mean_connect_ns;           /* (m) moving average; 0: none yet */
    uint64_t random;                   /* (m) state of the jitter's generator */

    pthread_t tender;   /* (i) */
    int tender_wake_fd; /* (i) an eventfd: there is something to drain or close */

    pthread_t canceller;                           /* (i) */
    bool is_cancel_under_way, has_canceller_ended; /* (m) */
    pthread_cond_t cancel_work;                    /* (m) a cancel was queued, or the pool ends */
    struct cancel_queue cancels;                   /* (m) */
    unsigned cancels_queued;                       /* (m) their number */

    pthread_t background;           /* (i) */
    bool has_background;            /* (i) */
    pthread_cond_t background_work; /* (m) it has work, or the pool is closed */
    bool background_due;            /* (m) */
    bool is_ending;                 /* (m) being freed */

    _Atomic uint64_t timeouts;            /* (a) */
    struct metrics_histogram create_time; /* (a) */
    struct metrics_histogram wait_time;   /* (a) */
    struct metrics_histogram use_time;    /* (a) from hand-over to check-in */
};

/* ---- recorder.c */

/* False without memory. */
bool pool_recorder_init(struct db_pool *pool);

/* Records an event and passes it to on_event. Sets thread and request, and at_ns where that is 0.
 * Lock held. */
void pool_emit(struct db_pool *pool, struct db_pool_event event);

/* ---- report.c */

/* A checkout timed out: keeps a view of the pool, and may begin an episode. Lock held. */
void pool_note_timeout(struct db_pool *pool, const struct waiter *waiter, int64_t now_ns);

/* ---- state.c, which has db_pool_ready() and db_pool_clear() too */

/* Paused, and the failures that a checkout can be refused with. Before there are threads. */
void pool_state_init(struct db_pool *pool);

/* db_pool_ready() and db_pool_clear(). Lock held. */
void pool_make_ready(struct db_pool *pool);
void pool_clear(struct db_pool *pool, const struct failure *cause, bool interrupt);

/* Every connection made so far is of an old generation, as after a clear, but the pool stays ready
 * and its waiters wait for new ones: the server is there. Lock held; not closed. */
void pool_renew(struct db_pool *pool);

/* The pool is closed: its waiters are turned away, its idle connections retired, its connects given
 * up. False when it was closed before. Takes the lock. */
bool pool_begin_close(struct db_pool *pool);

#endif
