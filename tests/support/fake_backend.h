/*
 * A server that speaks the part of PostgreSQL's protocol (version 3, extended queries) that the
 * service uses. A table gives the answer to each statement. It listens on loopback, on a free port.
 */
#ifndef FLASHOVER_TESTS_SUPPORT_FAKE_BACKEND_H
#define FLASHOVER_TESTS_SUPPORT_FAKE_BACKEND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

enum fake_reaction {
    FAKE_ROWS,
    FAKE_ERROR,  /* `sqlstate` */
    FAKE_SILENT, /* this connection stays silent from now on */
    FAKE_HANG_UP
};

struct fake_cell {
    const char *bytes;
    int size; /* -1: NULL */
};

struct fake_answer {
    const char *statement; /* part of the SQL; the first entry that matches counts */
    enum fake_reaction reaction;
    const char *sqlstate;
    const char *tag; /* for FAKE_ROWS: "INSERT 0 1"; NULL: "SELECT" */
    const struct fake_cell *cells;
    unsigned rows, columns; /* cells: one row after the other */
    const unsigned *types;  /* pg_type.oid of each column, in binary; NULL: all are text */
};

enum { FAKE_CONNECTIONS = 2048, FAKE_STATEMENTS = 128, FAKE_STATEMENT_SIZE = 1024 };

/* Lock key: (i) immutable once it listens, (a) atomic, (m) under `lock`. */
struct fake_backend {
    int fd;                                      /* (i) */
    char conninfo[128];                          /* (i) for db_conn_open() */
    pthread_t thread;                            /* (i) */
    _Atomic(const struct fake_answer *) answers; /* (a) ends with one without a statement */
    _Atomic unsigned accepted;                   /* (a) */
    pthread_mutex_t lock;
    int connections[FAKE_CONNECTIONS]; /* (m) */
    pthread_t threads[FAKE_CONNECTIONS];
    /* (m) the executed statements in order: the SQL, and after a '|' each parameter in text form */
    char executed[FAKE_STATEMENTS][FAKE_STATEMENT_SIZE];
    unsigned executed_count; /* (m) */
};

/* A statement that matches no entry of `answers` is answered without rows. */
void fake_backend_open(struct fake_backend *backend, const struct fake_answer *answers);

/* Ends every connection. New ones are accepted as before. */
void fake_backend_cut(struct fake_backend *backend);

/* Sends all connections a NOTIFY on this channel. */
void fake_backend_notify(struct fake_backend *backend, const char *channel);

/* How many executed statements contain this part. */
unsigned fake_backend_count(struct fake_backend *backend, const char *part);

/* Forgets what was executed: there is room for FAKE_STATEMENTS of them. */
void fake_backend_forget(struct fake_backend *backend);

/* Hangs up and ends. */
void fake_backend_close(struct fake_backend *backend);

#endif
