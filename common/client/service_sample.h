/*
 * The figures of the service's /metrics that the load tester looks at, as one plain struct.
 */
#ifndef FLASHOVER_COMMON_CLIENT_SERVICE_SAMPLE_H
#define FLASHOVER_COMMON_CLIENT_SERVICE_SAMPLE_H

#include <stddef.h>

/* Failures of single items, by the message that the service counts them under. */
enum item_failure {
    ITEM_FAILURE_CHECKOUT_TIMEOUT,
    ITEM_FAILURE_WRITE_DEADLINE,
    ITEM_FAILURE_READ_DEADLINE,
    ITEM_FAILURE_OTHER,
    ITEM_FAILURE_COUNT
};

/* Threads by what they do: the states of the service's flashover_threads. */
enum thread_kind {
    THREAD_KIND_IDLE,
    THREAD_KIND_RUNNING,
    THREAD_KIND_POOL_CHECKOUT,
    THREAD_KIND_QUERY,
    THREAD_KIND_MAP_LOCK,
    THREAD_KIND_LOG_LOCK,
    THREAD_KIND_WAITGROUP_WAIT,
    THREAD_KIND_COUNT
};

/* A figure that the page did not have is NAN. Where a name has several series, they are added. */
struct service_sample {
    double start_time_s; /* Unix time at which the process started */
    double pool_used;
    double pool_idle;
    double pool_max;
    double pool_pending;                      /* waiters */
    double timeouts;                          /* checkouts that timed out; counter */
    double use_time_sum_s;                    /* counter */
    double use_time_count;                    /* counter */
    double item_failures[ITEM_FAILURE_COUNT]; /* counters */
    double items;                             /* configured, as are the next two */
    double query_latency_s;
    double request_timeout_s;
    double threads; /* in all states */
    double threads_by_state[THREAD_KIND_COUNT];
    double backends; /* of this service and its replicas in the database, of dead ones too */
};

/* The state's name as the service writes it: "pool checkout". */
const char *service_sample_thread_state(enum thread_kind kind);

/* Reads a page of the Prometheus text format 0.0.4; lines that it cannot read are passed over. */
void service_sample_parse(struct service_sample *sample, const char *page);

#endif
