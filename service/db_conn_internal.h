/*
 * The inside of a connection, for db_conn.c (connecting and asking), db_conn_pipeline.c (asking
 * for many things at once) and db_conn_connector.c (the pool's view).
 */
#ifndef FLASHOVER_DB_CONN_INTERNAL_H
#define FLASHOVER_DB_CONN_INTERNAL_H

#include "service/db_conn.h"

#include <stdatomic.h>

#define DB_CONN_ADDRESS_SIZE   160
#define DB_CONN_MAX_PARAMETERS 4 /* of a statement */

struct db_conn {
    PGconn *pg;
    _Atomic enum db_conn_state state; /* the owner's; others may look */
    int interrupt_fd; /* readable: whoever waits for this connection is to give up */
    int socket_copy;  /* outlives libpq's own, and so sees when the server lets go; -1 before the
                         connection is made */
    bool unprepared;  /* as in the config */
    char address[DB_CONN_ADDRESS_SIZE]; /* HOST:PORT, as the incident's messages name it */
};

/* Takes in what has arrived and drops results until the server is ready for the next query; the
 * state after it. Does not block. */
enum db_conn_state db_conn_consume(struct db_conn *conn);

/* The driver's own check before the first byte: nothing is written once the deadline has passed. */
bool db_conn_may_write(const struct db_conn *conn, int64_t deadline_ns, struct failure *failure);

/* Queues an execution of one of the statements, with binary parameters and results. False: broken.
 */
bool db_conn_send(struct db_conn *conn, const struct db_statement *statement,
                  const struct db_value *parameters);

/* Sends what is queued; the connection is busy from now on. False: READ_DEADLINE, or DATABASE when
 * it broke or was interrupted. */
bool db_conn_flush(struct db_conn *conn, int64_t deadline_ns, struct failure *failure);

/* Waits for the next result, or for the end of the present answer (NULL); the caller's to PQclear.
 * False as db_conn_flush. */
bool db_conn_next_result(struct db_conn *conn, int64_t deadline_ns, PGresult **result,
                         struct failure *failure);

/* Whether the server is ready for the next query after this result, which is NULL or, where a
 * pipeline was under way, its sync: then pipeline mode is left. */
bool db_conn_is_last_result(struct db_conn *conn, const PGresult *result);

/* The state once an answer is over: never one that may be handed out while in pipeline mode. */
enum db_conn_state db_conn_settled_state(const struct db_conn *conn);

/* `failure` from an error of the server's, or as db_conn_broken() where there is none. False. */
bool db_conn_refused(struct db_conn *conn, const PGresult *result, struct failure *failure);

/* The connection is of no use any more: its state, and `failure` with libpq's words. False. */
bool db_conn_broken(struct db_conn *conn, struct failure *failure);

/* Closes and frees, but leaves the copy of the socket open and returns it. */
int db_conn_close_but_copy(struct db_conn *conn);

#endif
