/*
 * A database for the pool's tests: connections without a server, under the test's full control.
 */
#ifndef FLASHOVER_TESTS_SUPPORT_STUB_CONNECTOR_H
#define FLASHOVER_TESTS_SUPPORT_STUB_CONNECTOR_H

#include "service/db/connector.h"

#include <pthread.h>
#include <stdatomic.h>

enum { STUB_MAX_CLINGING = 64 };

enum stub_cancels { STUB_CANCEL_WORKS, STUB_CANCEL_FAILS, STUB_CANCEL_BLOCKS, STUB_NO_CANCEL };

struct stub {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool gate_closed;       /* connects wait until it opens */
    unsigned fail_connects; /* how many of the next connects fail, */
    char sqlstate[6];       /* with this */
    unsigned connecting, most_connecting;
    unsigned open, most_open; /* connections alive */
    unsigned made, closed, given_up;
    int64_t connect_ns; /* how long a connect takes; set before the pool opens */
    bool clings;        /* the server keeps its side of closed connections until this ends */
    unsigned clinging;
    int servers[STUB_MAX_CLINGING];
    _Atomic unsigned proofs, rollbacks, cancels_begun; /* how many were begun */
    _Atomic bool proofs_fail;
    _Atomic enum stub_cancels cancels;
};

struct stub_connection {
    struct stub *stub;
    _Atomic enum db_conn_state state;      /* what state() returns */
    _Atomic enum db_conn_state next_state; /* what consume() finds */
    int fd;                                /* an eventfd: readable once stub_answer() was called */
    _Atomic bool interrupted;
    _Atomic unsigned owners; /* lets tests check for a single owner */
    unsigned id;
};

void stub_init(struct stub *stub);
struct db_connector stub_connector(struct stub *stub);
void stub_set_gate(struct stub *stub, bool closed);
void stub_set_clinging(struct stub *stub, bool clings);
void stub_fail_connects(struct stub *stub, unsigned count);
void stub_set_sqlstate(struct stub *stub, const char *sqlstate);
unsigned stub_failures_left(struct stub *stub);
unsigned stub_connecting(struct stub *stub);
unsigned stub_closed(struct stub *stub);
unsigned stub_made(struct stub *stub);
unsigned stub_given_up(struct stub *stub);

/* The server answers: the next consume() finds the connection in `state`. */
void stub_answer(struct stub_connection *connection, enum db_conn_state state);

#endif
