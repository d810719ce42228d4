/*
 * What went wrong with a request or a query, as a plain value that travels up to the handler, which
 * turns it into an answer and a log line in one place (http_failure.c).
 */
#ifndef FLASHOVER_SERVICE_BASE_FAILURE_H
#define FLASHOVER_SERVICE_BASE_FAILURE_H

#include <stdbool.h>

#define FAILURE_MESSAGE_SIZE 400

enum failure_kind {
    FAILURE_NONE,
    FAILURE_CHECKOUT_TIMEOUT, /* the deadline passed while waiting for a connection */
    FAILURE_WRITE_DEADLINE,   /* it had passed when the connection came: no byte was sent */
    FAILURE_READ_DEADLINE,    /* it passed while the server worked on the query */
    FAILURE_REQUEST_DEADLINE, /* it passed, and no part of the request said more */
    FAILURE_LIMIT,            /* one of the service's own limits: threads, waiters */
    FAILURE_UNAVAILABLE, /* no connection to be had: pool closed, connect failed, server full */
    FAILURE_DATABASE,    /* the database refused the query or broke off */
    FAILURE_INCOMPLETE,  /* all is done without an error, and yet an item is not there */
    FAILURE_NOT_FOUND,   /* there is no such feed */
    FAILURE_CALLED_OFF,  /* of an item: not tried, since a sibling had failed before */
    FAILURE_KINDS
};

struct failure {
    enum failure_kind kind;
    char sqlstate[6]; /* "" where PostgreSQL named none */
    char message[FAILURE_MESSAGE_SIZE];
};

/* Sets kind and message and clears the SQLSTATE. Returns false, so that a function can end with it.
 */
bool failure_set(struct failure *failure, enum failure_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The kind's name in metrics and logs, such as "checkout_timeout". */
const char *failure_name(enum failure_kind kind);

#endif
