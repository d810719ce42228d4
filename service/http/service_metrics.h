/*
 * The service's own counters, beside the pool's.
 */
#ifndef FLASHOVER_SERVICE_HTTP_SERVICE_METRICS_H
#define FLASHOVER_SERVICE_HTTP_SERVICE_METRICS_H

#include "common/metrics.h"
#include "service/base/failure.h"

#define SERVICE_STATUSES 11

/* All fields (a). */
struct service_metrics {
    struct metrics_histogram
        feed_duration[SERVICE_STATUSES]; /* of GET /v1/feeds/{feed_id}, by status */
    struct metrics_histogram other_duration[SERVICE_STATUSES]; /* of every other request */
    _Atomic uint64_t item_failures[FAILURE_KINDS];
    _Atomic uint64_t request_failures[FAILURE_KINDS];
};

void service_metrics_observe(struct service_metrics *metrics, bool is_feed, int status,
                             int64_t duration_ns);

void service_metrics_write(const struct service_metrics *metrics, struct text *out);

/* The process's own: start time, CPU, memory, as Prometheus' client libraries name them. */
void service_metrics_write_process(double started_unix_s, struct text *out);

#endif
