/*
 * What the pool needs to know of a connection. conn.c implements it over libpq; tests put a stub
 * in its place. A connection is used by one thread at a time: its holder, or the pool's background
 * threads. interrupt() is the exception.
 */
#ifndef FLASHOVER_SERVICE_DB_CONNECTOR_H
#define FLASHOVER_SERVICE_DB_CONNECTOR_H

#include "service/base/failure.h"

#include <stdint.h>

enum db_conn_state {
    DB_CONN_IDLE,           /* ready for a query, outside a transaction */
    DB_CONN_IN_TRANSACTION, /* ready for a query, but in a transaction, failed or not */
    DB_CONN_BUSY,           /* an answer is still to come: it must not be handed out */
    DB_CONN_BROKEN,         /* fit only to be closed */
    DB_CONN_OUTDATED,       /* the same, and so are all that were made before now */
};

struct db_connector {
    void *context;
    /* Blocks until a new connection is ready, at most until `deadline_ns` or until `interrupt_fd`
     * becomes readable; NULL and `failure` otherwise. */
    void *(*connect)(void *context, int64_t deadline_ns, int interrupt_fd, struct failure *failure);
    /* Closes and frees. Does not block. Returns a descriptor that reads end-of-file, or an error,
     * once the server has let go of the connection too; it is the caller's to close. -1: there is
     * nothing to wait for. */
    int (*close)(void *connection);
    /* Any thread: a wait for an answer on this connection ends with an error, and the connection is
     * broken. Does not block. */
    void (*interrupt)(void *connection);
    /* The state as it was left, without looking at the socket. */
    enum db_conn_state (*state)(void *connection);
    /* Takes in what has arrived and returns the state after it: this shows whether it is alive, and
     * whether it is drained. Does not block. */
    enum db_conn_state (*consume)(void *connection);
    /* A round trip, to see that the server is still there: true when it answered in time. Blocks.
     */
    bool (*prove)(void *connection, int64_t deadline_ns);
    /* Begins to roll back a transaction; consume() tells when that is done. Does not block. */
    void (*rollback)(void *connection);
    /* Prepares a cancel of the query under way, for another thread. It outlives the connection.
     * NULL when that is not possible. Does not block. */
    void *(*cancel_prepare)(void *connection);
    /* Asks the server to cancel, waits until it has taken that, and frees `cancel`. Blocks. False:
     * the server may have taken it or not. */
    bool (*cancel_send)(void *cancel);
    /* Frees `cancel` unsent. */
    void (*cancel_drop)(void *cancel);
    /* A descriptor that becomes readable when consume() has something to do, or -1. */
    int (*socket)(void *connection);
    /* The server process that serves it, as in pg_stat_activity.pid. */
    int (*backend_pid)(void *connection);
};

#endif
