/*
 * Why checkouts wait: the pool at one moment, and a verdict with its evidence.
 */
#ifndef FLASHOVER_SERVICE_POOL_DIAGNOSIS_H
#define FLASHOVER_SERVICE_POOL_DIAGNOSIS_H

#include "service/db/connector.h"

#include <stdint.h>

enum db_pool_verdict {
    VERDICT_NONE,            /* no waiter, and no recent timeout */
    VERDICT_UNDERSIZED,      /* connections come back fast, but there are too few of them */
    VERDICT_LEAK,            /* threads that are gone hold them */
    VERDICT_SLOW_HOLDERS,    /* too few come back in the wait, or they are idle in use */
    VERDICT_NESTED_CHECKOUT, /* their holders wait for another one, or for threads that do */
    VERDICT_CONNECTING,      /* they are being made, or being closed */
    VERDICT_DATABASE_DOWN,   /* none can be made */
    VERDICT_SERVER_FULL,     /* the server has no room for another: 53300 */
    VERDICT_PAUSED,          /* the pool was cleared, and is not ready again */
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
    uint64_t turn; /* the thread's, at the checkout */
    const char *call_site, *query;
    int64_t since_ns;
    enum db_conn_state state; /* of the connection */
    bool is_alive;            /* the thread exists and is at that turn */
    bool is_nested;           /* and waits for threads of the request that wait for a connection */
};

/* The pool at one moment. */
struct db_pool_view {
    int64_t at_ns; /* monotonic; 0: the view is empty */
    struct db_pool_counts counts;
    int64_t waited_ns;    /* of the waiter that gave up, or else of the first; 0: no waiter */
    uint64_t checkins;    /* during that wait, with no answer still to come */
    int64_t served_ns;    /* the sum of their uses */
    int64_t mean_hold_ns; /* of all check-ins since the start; 0: none yet */
    struct failure connect_failure; /* the last one; kind NONE: there was none */
    int64_t connect_failure_ns;     /* when */
    unsigned connect_failures;      /* in a row, since a connect succeeded */
    unsigned nested;                /* connections whose holders are in the queue, or wait for
                                       threads of their request that are */
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
