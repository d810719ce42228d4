/*
 * The connection pool: at most max_size connections, first come first served.
 *
 * It follows CMAP, the Connection Monitoring and Pooling specification of MongoDB's drivers, over a
 * connector of any kind: the states paused, ready and closed, the generation and clear(), max
 * connecting, the events. A check-in hands the connection straight to the longest waiter, so no
 * later caller can snatch it. Background threads make the connections, never a caller, and never
 * under the lock. A connection that comes back in the middle of an answer is drained first, within
 * a time limit, by a background thread; if that fails, it is closed. A connection that is being
 * closed counts against max_size until the server has let go of it. (With CMAP it does not count
 * any more, and a server can have more backends than the pool may have connections.) README.md: the
 * source's plan.
 */
#ifndef FLASHOVER_SERVICE_POOL_POOL_H
#define FLASHOVER_SERVICE_POOL_POOL_H

#include "common/metrics.h"
#include "service/db/connector.h"
#include "service/pool/diagnosis.h"
#include "service/pool/event.h"
#include "service/pool/group.h"

#include <stddef.h>

struct db_pool;
struct db_slot; /* a place for a connection; the caller's from checkout to check-in */

/* Where the pool of this service and a pool that follows CMAP to the letter decide differently. */
struct db_pool_policy;

/* For a driver with a monitor, as CMAP has it: the monitor makes the pool ready after a clear,
 * every failed connect clears the pool, and a connect is begun as soon as a waiter lacks one. */
extern const struct db_pool_policy db_pool_policy_cmap;

/* For a program without a monitor: the pool finds out itself when the database is back. It clears
 * itself only when a connect fails and no connection is left, and it grows no faster than pays. */
extern const struct db_pool_policy db_pool_policy_autonomous;

struct db_pool_config {
    const char *address;     /* HOST:PORT of the database, for messages; must outlive the pool */
    unsigned max_size;       /* 1.. */
    unsigned min_size;       /* 0..max_size: kept open without waiters */
    unsigned max_connecting; /* 1..: connects at the same time */
    unsigned max_waiters;    /* the wait queue's length; 0: no limit */
    int64_t max_idle_ns;     /* idle for longer: closed; 0: never */
    int64_t max_lifetime_ns; /* open for longer: closed, some up to a tenth earlier; 0: never */
    /* 0: a checkout's own deadline alone. By CMAP's policy it ends for a waiter that a connect has
     * been begun for. */
    int64_t wait_queue_timeout_ns;
    int64_t background_interval_ns; /* between searches for what is too old or missing; below 0:
                                       never */
    int64_t connect_timeout_ns;
    int64_t drain_timeout_ns;  /* for an answer that is due: the rest of one whose caller gave up, a
                                  rollback, a proof of life */
    int64_t cancel_timeout_ns; /* for the server to take a cancel and end the query */
    int64_t prove_after_idle_ns; /* idle for longer: proved by a round trip first; 0: never */
    /* Ready, no connection open and no connect tried for so long: one is made unasked, so that
     * db_pool_is_cut_off() knows. 0: never. */
    int64_t max_untried_ns;
    int64_t close_timeout_ns;            /* how long a closed connection may still count */
    const struct db_pool_policy *policy; /* one of the two above */
    unsigned recorder_events;            /* how many of the last events are kept; 0: none */
    struct db_connector connector;
    /* Called for each event, under the pool's lock and in order: must not block, nor call the pool.
     * May be NULL. */
    void (*on_event)(void *context, const struct db_pool_event *event);
    void *event_context;
    /* Called from the background thread, without a lock, when a checkout timed out and none had for
     * some seconds before: an episode begins. May be NULL. */
    void (*on_episode)(void *context);
    void *episode_context;
};

/* Decides whether a connection may be handed to a waiter with this deadline (the toggle
 * `admission`). Called under the pool's lock: must not block. */
typedef bool db_pool_admit(int64_t deadline_ns, int64_t now_ns);

struct db_checkout {
    int64_t deadline_ns;
    db_pool_admit *admit;
    const char *call_site; /* string constants, for /debug/pool: the place in the source, */
    const char *query;     /* and the statement's name */
    const struct db_checkout_group *group; /* NULL: it cannot be called off */
};

enum db_pool_moment {
    DB_POOL_NOW,
    DB_POOL_AT_LAST_TIMEOUT, /* of a checkout; at most 50 ms before the very last one */
};

/* Starts the background threads. The pool is paused: nothing is connected until it is ready. NULL
 * and `failure` when threads or memory are short. */
struct db_pool *db_pool_open(const struct db_pool_config *config, struct failure *failure)
    __attribute__((warn_unused_result));

/* A paused pool becomes ready: checkouts may begin, min_size is connected. */
void db_pool_ready(struct db_pool *pool);

/* Every connection made so far is of an old generation and will not be handed out again; a ready
 * pool is paused, and its waiters are turned away with `cause`. With `interrupt` connections in use
 * are interrupted and connects under way given up. */
void db_pool_clear(struct db_pool *pool, const struct failure *cause, bool interrupt);

/* Fails all waiters, stops the background threads and closes what is idle; connections that are
 * checked out are closed as they come in. Checkouts fail from now on. May be called again. */
void db_pool_close(struct db_pool *pool);

/* Frees a closed pool whose connections have all come back: true. False while some are out, or a
 * cancel waits for a server that does not answer. Before the call, every other thread must have
 * returned from the pool's functions. */
bool db_pool_free(struct db_pool *pool);

/* Waits for a connection, at most until the deadline. True: *slot is the caller's, to be
 * given back with db_pool_checkin. False: *slot is NULL and `failure` is CHECKOUT_TIMEOUT,
 * UNAVAILABLE (pool closed, paused or cleared, nested checkout), LIMIT (too many waiters) or
 * CALLED_OFF. Takes the pool's lock. */
bool db_pool_checkout(struct db_pool *pool, const struct db_checkout *checkout,
                      struct db_slot **slot, struct failure *failure)
    __attribute__((warn_unused_result));

/* The connection, of the connector's type. */
void *db_slot_connection(const struct db_slot *slot);

/* Gives the connection back, in any state, and clears *slot. It must be of this pool
 * and checked out. Takes the pool's lock; does not block. */
void db_pool_checkin(struct db_pool *pool, struct db_slot **slot);

/* Whether no query can be made, with *failure: no connection is open and the last connect failed,
 * or the pool was cleared and no connect of its new generation has succeeded yet. Load alone never
 * has that effect. */
bool db_pool_is_cut_off(struct db_pool *pool, struct failure *failure);

/* A consistent picture of the counts. */
struct db_pool_counts db_pool_count(struct db_pool *pool);

/* The pool as it is, or as it was when a checkout timed out last, with a diagnosis. `holders` has
 * room for max_size; view->holders points to it. view->at_ns is 0 where no checkout has timed out
 * yet. */
void db_pool_examine(struct db_pool *pool, enum db_pool_moment moment, struct db_holder *holders,
                     struct db_pool_view *view);

/* Appends the OpenTelemetry metrics (db.client.connection.*) for a pool of this name. */
void db_pool_write_metrics(struct db_pool *pool, const char *pool_name, struct text *out);

#endif
