/*
 * A server that speaks as much of PostgreSQL's protocol (version 3, extended queries) as the
 * service does: a table says what it answers to which statement. On loopback, on a free port.
 */
#ifndef FLASHOVER_TEST_FAKE_BACKEND_H
#define FLASHOVER_TEST_FAKE_BACKEND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

enum fake_reaction {
    FAKE_ROWS,
    FAKE_ERROR,  /* `sqlstate` */
    FAKE_SILENT, /* nothing is said any more on this connection */
    FAKE_HANG_UP
};

struct fake_cell {
    const char *bytes;
    int size;
};

struct fake_answer {
    const char *statement; /* a part of the SQL that it answers; the first that fits counts */
    enum fake_reaction reaction;
    const char *sqlstate;
    const char *tag; /* of FAKE_ROWS: "INSERT 0 1"; NULL: "SELECT" */
    const struct fake_cell *cells;
    unsigned rows, columns; /* cells: one row after the other */
};

enum { FAKE_CONNECTIONS = 64, FAKE_STATEMENTS = 128, FAKE_STATEMENT_SIZE = 512 };

/* Lock key: (i) immutable once it listens, (a) atomic, (m) under `lock`. */
struct fake_backend {
    int fd;                                      /* (i) */
    char conninfo[128];                          /* (i) for db_conn_open() */
    pthread_t thread;                            /* (i) */
    _Atomic(const struct fake_answer *) answers; /* (a) up to one without a statement */
    _Atomic unsigned accepted;                   /* (a) */
    pthread_mutex_t lock;
    int connections[FAKE_CONNECTIONS]; /* (m) */
    pthread_t threads[FAKE_CONNECTIONS];
    /* (m) what was executed, in order: the SQL, and each parameter after a '|' where it is text */
    char executed[FAKE_STATEMENTS][FAKE_STATEMENT_SIZE];
    unsigned executed_count; /* (m) */
};

/* What no entry of `answers` fits is answered without rows. */
void fake_backend_open(struct fake_backend *backend, const struct fake_answer *answers);

/* Ends every connection; later ones are made as before. */
void fake_backend_cut(struct fake_backend *backend);

/* Tells all connections of a NOTIFY on this channel. */
void fake_backend_notify(struct fake_backend *backend, const char *channel);

/* How many statements were executed that hold this part. */
unsigned fake_backend_count(struct fake_backend *backend, const char *part);

/* Hangs up and ends. */
void fake_backend_close(struct fake_backend *backend);

#endif
