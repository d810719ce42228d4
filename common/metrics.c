#include "common/metrics.h"

#include "common/clock.h"

#include <string.h>

/* 0.2 s is the SLO's: what is slower can be counted. */
const double metrics_bucket_bounds_s[METRICS_BUCKETS] = {
    0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2.5, 10};

static size_t bucket_of(int64_t duration_ns)
{
    double seconds = (double)duration_ns / (double)CLOCK_NS_PER_S;
    size_t bucket = 0;
    while (bucket < METRICS_BUCKETS && seconds > metrics_bucket_bounds_s[bucket])
        bucket++;
    return bucket;
}

void metrics_histogram_observe(struct metrics_histogram *histogram, int64_t duration_ns)
{
    atomic_fetch_add_explicit(&histogram->counts[bucket_of(duration_ns)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_ns, (uint64_t)duration_ns, memory_order_relaxed);
}

static void add_alone(_Atomic uint64_t *sum, uint64_t more)
{
    uint64_t former = atomic_load_explicit(sum, memory_order_relaxed);
    atomic_store_explicit(sum, former + more, memory_order_relaxed);
}

void metrics_histogram_observe_locked(struct metrics_histogram *histogram, int64_t duration_ns)
{
    add_alone(&histogram->counts[bucket_of(duration_ns)], 1);
    add_alone(&histogram->sum_ns, (uint64_t)duration_ns);
}

void metrics_family(struct text *out, const char *name, const char *type, const char *help)
{
    text_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_sample(struct text *out, const char *name, const char *labels, double value)
{
    if (*labels)
        text_addf(out, "%s{%s} %.15g\n", name, labels, value);
    else
        text_addf(out, "%s %.15g\n", name, value);
}

void metrics_gauge(struct text *out, const char *name, const char *labels, const char *help,
                   double value)
{
    metrics_family(out, name, "gauge", help);
    metrics_sample(out, name, labels, value);
}

void metrics_histogram_write(struct text *out, const char *name, const char *labels,
                             const struct metrics_histogram *histogram)
{
    const char *comma = *labels ? "," : "";
    uint64_t total = 0;
    for (size_t i = 0; i <= METRICS_BUCKETS; i++) {
        total += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
        if (i < METRICS_BUCKETS)
            text_addf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma,
                      metrics_bucket_bounds_s[i], (unsigned long long)total);
        else
            text_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
                      (unsigned long long)total);
    }
    uint64_t sum_ns = atomic_load_explicit(&histogram->sum_ns, memory_order_relaxed);
    const char *open = *labels ? "{" : "";
    const char *close = *labels ? "}" : "";
    text_addf(out, "%s_sum%s%s%s %.9f\n%s_count%s%s%s %llu\n", name, open, labels, close,
              (double)sum_ns / (double)CLOCK_NS_PER_S, name, open, labels, close,
              (unsigned long long)total);
}

void metrics_label(struct text *out, const char *name, const char *value)
{
    text_addf(out, "%s%s=\"", out->size_bytes ? "," : "", name);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            text_append(out, "\\", 1);
        if (*value == '\n')
            text_add(out, "\\n");
        else
            text_append(out, value, 1);
    }
    text_add(out, "\"");
}
