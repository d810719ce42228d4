/*
 * The inside of a connection. wire.c sends and receives; above it stand conn.c (connects, runs one
 * statement), pipeline.c (runs many statements in one round trip) and conn_connector.c (the pool's
 * view).
 */
#ifndef FLASHOVER_SERVICE_DB_CONN_PRIVATE_H
#define FLASHOVER_SERVICE_DB_CONN_PRIVATE_H

#include "service/db/conn.h"

#include <stdatomic.h>

#define DB_CONN_ADDRESS_SIZE   160
#define DB_CONN_MAX_PARAMETERS 4 /* of a statement */
#define DB_CONN_MAX_STATEMENTS 4 /* prepared on a connection */

struct db_conn {
    PGconn *pg;
    _Atomic enum db_conn_state state; /* the owner writes it; others may read */
    int interrupt_fd;                 /* readable: a wait for this connection is to end */
    int socket_copy; /* outlives libpq's own, so it shows when the server lets go; -1 before the
                        connection is made */
    bool unprepared; /* as in the config, or since they were given up */
    const char *refused[DB_CONN_MAX_STATEMENTS]; /* names of those that do not fit the schema */
    size_t refused_count;
    bool is_replaceable;                /* as in the config */
    struct db_preparing *preparing;     /* as in the config */
    int64_t opened_ns;                  /* when the connect began */
    enum db_conn_state spoiled;         /* BROKEN or OUTDATED after such an error; else IDLE */
    char address[DB_CONN_ADDRESS_SIZE]; /* HOST:PORT, as the incident's messages name it */
};

/* ---- wire.c */

enum db_conn_awaited { SOCKET_READY, DEADLINE_PASSED, INTERRUPTED };

/* Waits until the socket has one of poll's `events` or an error, at most until the deadline, or
 * until `interrupt_fd` (-1: none) is readable. */
enum db_conn_awaited db_conn_await_socket(const struct db_conn *conn, short events,
                                          int interrupt_fd, int64_t deadline_ns);

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

/* Whether this result ends the answer, and the server is ready for the next query: NULL does, or in
 * a pipeline the sync. Leaves pipeline mode then. */
bool db_conn_is_last_result(struct db_conn *conn, const PGresult *result);

/* The state once an answer is over; BROKEN while in pipeline mode, or as an error left
 * it; OUTDATED once prepared statements were given up, where it has some. */
enum db_conn_state db_conn_settled_state(const struct db_conn *conn);

/* Fills `failure` from the server's error, or as db_conn_broken() without one. Notes whether the
 * error makes the connection useless, for db_conn_settled_state(). Returns false. */
bool db_conn_refused(struct db_conn *conn, const PGresult *result, struct failure *failure);

/* Makes the state BROKEN, and fills `failure` with libpq's message. Returns false. */
bool db_conn_broken(struct db_conn *conn, struct failure *failure);

/* ---- conn.c */

/* Closes and frees, but leaves the copy of the socket open and returns it. */
int db_conn_close_but_copy(struct db_conn *conn);

#endif
