/*
 * Plain arrays of durations in nanoseconds, for where each sample is known: what a histogram says
 * can be held against them.
 */
#ifndef FLASHOVER_LOADTEST_BASE_SAMPLES_H
#define FLASHOVER_LOADTEST_BASE_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

void samples_sort(int64_t *samples_ns, size_t count);

/* Of count > 0 sorted samples, in ms: the nearest-rank percentile, as histogram_percentile_us() has
 * it. */
double samples_percentile_ms(const int64_t *sorted_ns, size_t count, double percent);

/* Of count > 0 samples in any order, in ms. */
double samples_mean_ms(const int64_t *samples_ns, size_t count);

/* How many are longer. */
size_t samples_longer(const int64_t *samples_ns, size_t count, int64_t value_ns);

#endif
