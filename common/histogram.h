/*
 * A histogram of durations with the geometry of HdrHistogram (lowest 1 us, highest 60 s, 3
 * significant digits): counters of width 1 up to 2,047 us, of width 2 up to 4,095 us, and so on,
 * so that a value is never off by more than 0.1 %. Constant memory; two histograms add exactly,
 * counter by counter. Geometry: HdrHistogram_c, hdr_init() and counts_index_for().
 * Not shared between threads: one per thread, merged after join.
 */
#ifndef FLASHOVER_COMMON_HISTOGRAM_H
#define FLASHOVER_COMMON_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_COUNTERS   17408
#define HISTOGRAM_HIGHEST_US INT64_C(60000000)

struct histogram {
    uint64_t counters[HISTOGRAM_COUNTERS];
    uint64_t count;
    uint64_t sum_us;  /* of the values as recorded, not of their counters */
    int64_t min_us;   /* valid when count > 0 */
    int64_t max_us;   /* valid when count > 0 */
    uint64_t clamped; /* values above the highest; counted as the highest */
};

void histogram_reset(struct histogram *histogram);

/* Counts one value, 0..HISTOGRAM_HIGHEST_US us; what is above is counted as the highest, below 0
 * as 0. */
void histogram_record_us(struct histogram *histogram, int64_t value_us);

/* The same for nanoseconds, rounded to the nearest microsecond. */
void histogram_record_ns(struct histogram *histogram, int64_t value_ns);

/* Adds `from` to `into`; the result equals one histogram of all their values. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The nearest-rank percentile: the smallest recorded value such that `percent` (0..100) of all
 * values are at or below it; 0 percent is the smallest. It is the highest value of that counter,
 * at most the largest value recorded. 0 when nothing was recorded. */
int64_t histogram_percentile_us(const struct histogram *histogram, double percent);

/* The mean of the values as recorded; 0 when nothing was recorded. */
double histogram_mean_us(const struct histogram *histogram);

/* The counter that a value of 0..HISTOGRAM_HIGHEST_US us falls into, and the smallest and the
 * largest value of a counter. */
size_t histogram_index(int64_t value_us);
int64_t histogram_lowest_us(size_t index);
int64_t histogram_highest_us(size_t index);

#endif
