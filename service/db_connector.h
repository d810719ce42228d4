/*
 * What the pool needs to know of a connection. db_conn.c implements it over libpq; tests put a stub
 * in its place. A connection is used by one thread at a time: its holder, or the pool's background
 * threads.
 */
#ifndef FLASHOVER_DB_CONNECTOR_H
#define FLASHOVER_DB_CONNECTOR_H

#include "service/failure.h"

#include <stdint.h>

enum db_conn_state {
    DB_CONN_IDLE,   /* ready for a query, outside a transaction */
    DB_CONN_BUSY,   /* an answer is still to come: nobody may be given it in this state */
    DB_CONN_BROKEN, /* fit only to be closed */
};

struct db_connector {
    void *context;
    /* Blocks until a new connection is ready, at most until `deadline_ns`; NULL and `failure`
     * otherwise. */
    void *(*connect)(void *context, int64_t deadline_ns, struct failure *failure);
    /* Closes and frees. Does not block. */
    void (*close)(void *connection);
    /* The state as it was left, without looking at the socket. */
    enum db_conn_state (*state)(void *connection);
    /* Takes in what has arrived, without blocking, and returns the state after it: is it alive, is
     * it drained? */
    enum db_conn_state (*consume)(void *connection);
    /* A descriptor that becomes readable when consume() has something to do, or -1. */
    int (*socket)(void *connection);
    /* The server process that serves it, as in pg_stat_activity.pid. */
    int (*backend_pid)(void *connection);
};

#endif
