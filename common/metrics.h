/*
 * Metrics in Prometheus' text exposition format 0.0.4, and the fixed-bucket histogram behind the
 * durations. Names follow OpenTelemetry's semantic conventions, with underscores and unit suffixes.
 */
#ifndef FLASHOVER_COMMON_METRICS_H
#define FLASHOVER_COMMON_METRICS_H

#include "common/text.h"

#include <stdatomic.h>
#include <stdint.h>

/* OpenTelemetry's advice for db.client.operation.duration (0.001 to 10 s), with more steps about
 * the lab's h of 5 ms and deadline of 1 s. */
#define METRICS_BUCKETS 15
extern const double metrics_bucket_bounds_s[METRICS_BUCKETS];

/* All fields (a); an observation is two relaxed additions, so a scrape may see them one apart. */
struct metrics_histogram {
    _Atomic uint64_t counts[METRICS_BUCKETS + 1]; /* not cumulative; the last is +Inf's */
    _Atomic uint64_t sum_ns;
};

void metrics_histogram_observe(struct metrics_histogram *histogram, int64_t duration_ns);

/* The same for a histogram whose observations are all made under one lock, which is held: without
 * the price of atomic additions. It may be read at any time. */
void metrics_histogram_observe_locked(struct metrics_histogram *histogram, int64_t duration_ns);

/* The HELP and TYPE lines; `type` is gauge, counter or histogram. */
void metrics_family(struct text *out, const char *name, const char *type, const char *help);

/* One sample; `labels` is `a="b",c="d"` with values already escaped, or "". */
void metrics_sample(struct text *out, const char *name, const char *labels, double value);

/* A gauge with one sample, its HELP and TYPE lines included. */
void metrics_gauge(struct text *out, const char *name, const char *labels, const char *help,
                   double value);

/* A histogram's bucket, sum and count samples, in seconds. */
void metrics_histogram_write(struct text *out, const char *name, const char *labels,
                             const struct metrics_histogram *histogram);

/* Appends a label `name="value"` to `out`, escaped, after a comma where `out` is not empty. */
void metrics_label(struct text *out, const char *name, const char *value);

#endif
