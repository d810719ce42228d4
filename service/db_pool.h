/*
 * The connection pool: at most max_size connections, first come first served.
 *
 * Terms as in CMAP (Connection Monitoring and Pooling). A check-in hands the connection straight to
 * the longest waiter, so nobody who comes later can snatch it. Connections are made by background
 * threads, never by a caller and never under the lock. A connection that comes back in the middle
 * of an answer is drained by another background thread within a bound, and only then handed on;
 * else it is closed.
 */
#ifndef FLASHOVER_DB_POOL_H
#define FLASHOVER_DB_POOL_H

#include "common/metrics.h"
#include "service/db_connector.h"

#include <stddef.h>

struct db_pool;
struct db_lease; /* a connection that is checked out */

struct db_pool_config {
    unsigned max_size;       /* 1.. */
    unsigned min_size;       /* 0..max_size: kept open without being asked for */
    unsigned max_connecting; /* 1..: connects at the same time */
    int64_t connect_timeout_ns;
    int64_t drain_timeout_ns;
    struct db_connector connector;
};

/* Decides whether a connection may be handed to a waiter with this deadline (the toggle
 * `admission`). Called under the pool's lock: must not block. */
typedef bool db_pool_admit(int64_t deadline_ns, int64_t now_ns);

struct db_checkout {
    int64_t deadline_ns;
    db_pool_admit *admit;
    const char *call_site; /* string constants, for /debug/pool: the place in the source, */
    const char *query;     /* and the statement's name */
};

struct db_pool_counts {
    unsigned max, idle, in_use, connecting, draining, closing, waiting;
};

struct db_holder {
    unsigned connection_id; /* from 1, in order of creation */
    int backend_pid;
    long tid;
    char request[65];
    const char *call_site, *query;
    int64_t since_ns;
};

/* Starts the background threads; connects nothing but min_size. NULL and `failure` when threads or
 * memory are short. */
struct db_pool *db_pool_open(const struct db_pool_config *config, struct failure *failure)
    __attribute__((warn_unused_result));

/* Fails all waiters, stops the background threads, closes what is idle, and frees the pool when all
 * leases have come back: true. False while some are out: they are closed as they come in, and the
 * pool is freed by a later call. Before the call that frees it, every other thread must have
 * returned from the pool's functions. */
bool db_pool_close(struct db_pool *pool);

/* Waits its turn for a connection, at most until the deadline. True: *lease is the caller's, to be
 * given back with db_pool_checkin. False: *lease is NULL and `failure` is CHECKOUT_TIMEOUT or
 * UNAVAILABLE (pool closed, or no connection can be made). Takes the pool's lock. */
bool db_pool_checkout(struct db_pool *pool, const struct db_checkout *checkout,
                      struct db_lease **lease, struct failure *failure)
    __attribute__((warn_unused_result));

/* The connection, of the connector's type. */
void *db_lease_connection(const struct db_lease *lease);

/* Gives the connection back, whatever state it is in, and clears *lease. Takes the pool's lock;
 * does not block. */
void db_pool_checkin(struct db_pool *pool, struct db_lease **lease);

/* A consistent picture of the counts. */
struct db_pool_counts db_pool_count(struct db_pool *pool);

/* Who holds what: fills at most `capacity` (max_size is enough) and returns how many there are. */
unsigned db_pool_holders(struct db_pool *pool, struct db_holder *holders, size_t capacity);

/* Appends the OpenTelemetry metrics (db.client.connection.*) for a pool of this name. */
void db_pool_write_metrics(struct db_pool *pool, const char *pool_name, struct text *out);

#endif
