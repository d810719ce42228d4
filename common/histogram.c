#include "common/histogram.h"

#include "common/check.h"

#include <math.h>
#include <stdbool.h>

/* 3 significant digits need counters of width 1 up to 2 * 10^3; the next power of two is 2^11.
 * Each further bucket doubles the width and keeps only the upper half of its 2^11 places. */
#define SUB_BUCKET_BITS 11
#define HALF_COUNT      ((size_t)1024)

static_assert(HISTOGRAM_COUNTERS == (16 + 1) * HALF_COUNT, "16 buckets reach 2^26 us > 60 s");

void histogram_reset(struct histogram *histogram)
{
    *histogram = (struct histogram){0};
}

size_t histogram_index(int64_t value_us)
{
    assert(value_us >= 0 && value_us <= HISTOGRAM_HIGHEST_US);
    uint64_t value = (uint64_t)value_us;
    unsigned top_bit = 63U - (unsigned)__builtin_clzll(value | ((1U << SUB_BUCKET_BITS) - 1));
    unsigned bucket = top_bit - (SUB_BUCKET_BITS - 1);
    return (size_t)bucket * HALF_COUNT + (size_t)(value >> bucket);
}

int64_t histogram_lowest_us(size_t index)
{
    assert(index < HISTOGRAM_COUNTERS);
    if (index < 2 * HALF_COUNT)
        return (int64_t)index;
    size_t bucket = index / HALF_COUNT - 1;
    return (int64_t)((index % HALF_COUNT + HALF_COUNT) << bucket);
}

int64_t histogram_highest_us(size_t index)
{
    size_t bucket = index < 2 * HALF_COUNT ? 0 : index / HALF_COUNT - 1;
    return histogram_lowest_us(index) + (INT64_C(1) << bucket) - 1;
}

void histogram_record_us(struct histogram *histogram, int64_t value_us)
{
    if (value_us > HISTOGRAM_HIGHEST_US) {
        value_us = HISTOGRAM_HIGHEST_US;
        histogram->clamped++;
    }
    if (value_us < 0)
        value_us = 0;
    if (histogram->count == 0 || value_us < histogram->min_us)
        histogram->min_us = value_us;
    if (histogram->count == 0 || value_us > histogram->max_us)
        histogram->max_us = value_us;
    histogram->counters[histogram_index(value_us)]++;
    histogram->count++;
    histogram->sum_us += (uint64_t)value_us;
}

void histogram_record_ns(struct histogram *histogram, int64_t value_ns)
{
    histogram_record_us(histogram, value_ns < 0 ? 0 : (value_ns + 500) / 1000);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->count == 0)
        return;
    for (size_t i = 0; i < HISTOGRAM_COUNTERS; i++)
        into->counters[i] += from->counters[i];
    if (into->count == 0 || from->min_us < into->min_us)
        into->min_us = from->min_us;
    if (into->count == 0 || from->max_us > into->max_us)
        into->max_us = from->max_us;
    into->count += from->count;
    into->sum_us += from->sum_us;
    into->clamped += from->clamped;
}

int64_t histogram_percentile_us(const struct histogram *histogram, double percent)
{
    if (histogram->count == 0)
        return 0;
    /* The subtraction undoes what binary fractions add: 99.9 % of 1,000 is rank 999, not 1,000. */
    double wanted = ceil(percent * (double)histogram->count / 100.0 - 1e-6);
    uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
    if (rank > histogram->count)
        rank = histogram->count;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_COUNTERS; i++) {
        seen += histogram->counters[i];
        if (seen >= rank) {
            int64_t highest_us = histogram_highest_us(i);
            return highest_us < histogram->max_us ? highest_us : histogram->max_us;
        }
    }
    assert(false && "the counters sum up to the count");
    return 0;
}

double histogram_mean_us(const struct histogram *histogram)
{
    return histogram->count == 0 ? 0 : (double)histogram->sum_us / (double)histogram->count;
}
