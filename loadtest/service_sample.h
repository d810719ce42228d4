/*
 * The figures of the service's /metrics that the load tester looks at, as one plain struct.
 */
#ifndef FLASHOVER_LOADTEST_SERVICE_SAMPLE_H
#define FLASHOVER_LOADTEST_SERVICE_SAMPLE_H

#include <stddef.h>

/* Failures of single items, by the message of design section 5. */
enum item_failure {
    ITEM_FAILURE_CHECKOUT_TIMEOUT,
    ITEM_FAILURE_WRITE_DEADLINE,
    ITEM_FAILURE_READ_DEADLINE,
    ITEM_FAILURE_OTHER,
    ITEM_FAILURE_COUNT
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
};

/* Reads a page of the Prometheus text format 0.0.4; lines that it cannot read are passed over. */
void service_sample_parse(struct service_sample *sample, const char *page);

#endif
