/*
 * One connection to PostgreSQL over non-blocking libpq. Every call has a deadline on the monotonic
 * clock. A connection belongs to one thread at a time; there are no locks here.
 */
#ifndef FLASHOVER_SERVICE_DB_CONN_H
#define FLASHOVER_SERVICE_DB_CONN_H

#include "service/db/connector.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stddef.h>

struct db_conn;

/* A statement that is prepared on each new connection, unless that is left out. */
struct db_statement {
    const char *name;
    const char *sql;
    int parameter_count;
    const Oid *parameter_types;
};

/* Whether prepared statements survive on the way to the server. Shared by all connections of one
 * database; zero at first. A pooler in transaction pooling that does not follow them loses them, or
 * gives a connection those of another. When that happens again on a connection made since, they are
 * given up, and one line in the log names the reason. */
struct db_preparing {
    _Atomic int64_t lost_ns; /* when a statement was lost last; 0: never */
    _Atomic bool is_given_up;
};

struct db_conn_config {
    const char *conninfo; /* conninfo string or URI; NULL: libpq's own PG* variables */
    const char *application_name;
    const struct db_statement *statements;
    size_t statement_count;
    /* Nothing is prepared: each execution sends its SQL. For a pooler that uses another server
     * connection for each transaction, and so loses what was prepared. */
    bool unprepared;
    struct db_preparing *preparing; /* NULL: never given up; must outlive the connections */
    /* An error that is not about the query ends the connection: its owner makes another. */
    bool is_replaceable;
};

/* A parameter in PostgreSQL's binary format (big-endian). */
struct db_value {
    char bytes[8];
};
struct db_value db_value_int8(int64_t value);
struct db_value db_value_float8(double value);

/* Whether the server finds that a statement does not fit the schema: an undefined or mistyped
 * table, column or operator (SQLSTATE class 42). */
bool db_failure_is_about_schema(const struct failure *failure);

/* Connects and prepares the statements, unless `unprepared`. NULL and `failure` (UNAVAILABLE, with
 * the SQLSTATE where the server gave one) when that cannot be done by `deadline_ns`, or when
 * `interrupt_fd` (-1: none) becomes readable. Looking up a host name may block beyond it. A
 * statement that does not fit the schema is left unprepared: its execution tells why. Where none
 * fits: NULL, DATABASE. The caller owns the result. */
struct db_conn *db_conn_open(const struct db_conn_config *config, int64_t deadline_ns,
                             int interrupt_fd, struct failure *failure)
    __attribute__((warn_unused_result));

/* Closes and frees; NULL is allowed. */
void db_conn_close(struct db_conn *conn);

/* Executes one of the statements, asks for binary results, and waits for them until `deadline_ns`.
 * True: *result is the caller's to PQclear. False: *result is NULL and `failure` says
 * WRITE_DEADLINE (the deadline had passed, no byte was sent, the connection is as before),
 * READ_DEADLINE (the connection stays busy) or DATABASE. */
bool db_conn_query(struct db_conn *conn, const struct db_statement *statement,
                   const struct db_value *parameters, int64_t deadline_ns, PGresult **result,
                   struct failure *failure) __attribute__((warn_unused_result));

/* The same for one statement that is not prepared, with text parameters and text results. */
bool db_conn_execute(struct db_conn *conn, const char *sql, int parameter_count,
                     const char *const *parameters, int64_t deadline_ns, PGresult **result,
                     struct failure *failure) __attribute__((warn_unused_result));

/* One of the statements, executed `count` times in one pipeline: all are sent at once, with one
 * sync at the end. An error ends all executions after it. */
struct db_pipeline {
    const struct db_statement *statement;
    unsigned count; /* 1.. */
    /* Writes the parameters of the execution with this index. */
    void (*write_parameters)(void *context, unsigned index, struct db_value *parameters);
    /* Takes an execution's rows, in order. False, and `failure`: the pipeline has failed. */
    bool (*take)(void *context, unsigned index, const PGresult *result, struct failure *failure);
    void *context;
};

/* As db_conn_query, but the rows go to `take`, and `failure` is the first one. After READ_DEADLINE
 * the connection stays busy, in pipeline mode; the pool's draining ends both. */
bool db_conn_pipeline(struct db_conn *conn, const struct db_pipeline *pipeline, int64_t deadline_ns,
                      struct failure *failure) __attribute__((warn_unused_result));

/* Waits until the server sends something, `wake_fd` becomes readable or the deadline passes; takes
 * in what was sent. False when the connection is broken. */
bool db_conn_wait(struct db_conn *conn, int wake_fd, int64_t deadline_ns);

/* True when a NOTIFY has come. Drops all that have come. */
bool db_conn_take_notifications(struct db_conn *conn);

/* The pool's view of connections made with `config`, which must outlive it. */
struct db_connector db_conn_connector(const struct db_conn_config *config);

#endif
