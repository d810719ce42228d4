/*
 * Why nobody gets a connection: what the pool can tell of itself at one moment, and a verdict with
 * its evidence.
 */
#ifndef FLASHOVER_DB_POOL_DIAGNOSIS_H
#define FLASHOVER_DB_POOL_DIAGNOSIS_H

#include "service/db_connector.h"

#include <stdint.h>

enum db_pool_verdict {
    VERDICT_NONE,            /* nobody waits, and nobody had to give up of late */
    VERDICT_UNDERSIZED,      /* connections come back fast, and still there are too few of them */
    VERDICT_LEAK,            /* they are held by threads that are gone */
    VERDICT_SLOW_HOLDERS,    /* their holders keep them for longer than the wait */
    VERDICT_NESTED_CHECKOUT, /* their holders wait for one, themselves or by other threads */
    VERDICT_CONNECTING,      /* they are still being made, or still being closed */
    VERDICT_DATABASE_DOWN,   /* none can be made */
    VERDICT_SERVER_FULL,     /* the server has no room for another: 53300 */
    VERDICT_PAUSED,          /* the pool was cleared, and waits to be ready again */
    DB_POOL_VERDICTS
};

enum db_pool_state { DB_POOL_PAUSED, DB_POOL_READY, DB_POOL_CLOSED };

struct db_pool_counts {
    enum db_pool_state state;
    unsigned generation;
    unsigned max, idle, in_use, connecting, draining, closing, waiting;
};

struct db_holder {
    unsigned connection_id; /* from 1, in order of creation */
    int backend_pid;
    long tid;
    char request[65];
    const char *call_site, *query;
    int64_t since_ns;
    enum db_conn_state state; /* in a transaction, at work, or neither */
    bool is_alive;            /* the thread is there, and works for that request */
};

/* The pool at one moment. */
struct db_pool_view {
    int64_t at_ns; /* monotonic; 0: there is nothing to see */
    struct db_pool_counts counts;
    int64_t waited_ns;    /* by the one who gave up, or else by the first in the queue; 0: nobody */
    uint64_t checkins;    /* of any connection, during that wait */
    int64_t mean_hold_ns; /* of all check-ins since the start; 0: none yet */
    struct failure connect_failure; /* the last one; kind NONE: there was none */
    int64_t connect_failure_ns;     /* when */
    unsigned connect_failures;      /* in a row, since a connect succeeded */
    unsigned nested;                /* connections whose holders stand in the queue themselves, or
                                       wait for threads of their request that do */
    enum db_pool_verdict verdict;
    char evidence[320];
    unsigned holder_count;
    struct db_holder *holders; /* [holder_count], the caller's memory */
};

/* The verdict's name: "slow_holders". */
const char *db_pool_verdict_name(enum db_pool_verdict verdict);

/* "ready" */
const char *db_pool_state_name(enum db_pool_state state);

/* Fills verdict and evidence from the rest of the view. */
void db_pool_diagnose(struct db_pool_view *view);

#endif
