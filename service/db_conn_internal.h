/*
 * The inside of a connection, for db_conn.c (connecting and asking) and db_conn_connector.c (the
 * pool's view).
 */
#ifndef FLASHOVER_DB_CONN_INTERNAL_H
#define FLASHOVER_DB_CONN_INTERNAL_H

#include "service/db_conn.h"

#include <stdatomic.h>

#define DB_CONN_ADDRESS_SIZE 160

struct db_conn {
    PGconn *pg;
    _Atomic enum db_conn_state state; /* the owner's; others may look */
    int interrupt_fd; /* readable: whoever waits for this connection is to give up */
    int socket_copy;  /* outlives libpq's own, and so sees when the server lets go; -1 before the
                         connection is made */
    char address[DB_CONN_ADDRESS_SIZE]; /* HOST:PORT, as the incident's messages name it */
};

/* Takes in what has arrived and drops results until the server is ready for the next query; the
 * state after it. Does not block. */
enum db_conn_state db_conn_consume(struct db_conn *conn);

/* Closes and frees, but leaves the copy of the socket open and returns it. */
int db_conn_close_but_copy(struct db_conn *conn);

#endif
