#include "common/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

static struct histogram *new_histogram(void)
{
    struct histogram *histogram = malloc(sizeof *histogram);
    assert_non_null(histogram);
    histogram_reset(histogram);
    return histogram;
}

/* A fixed sequence over the whole range, with more small values than large ones. */
static int64_t value_at(uint64_t i)
{
    uint64_t z = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z ^= z >> 29;
    z *= UINT64_C(0xbf58476d1ce4e5b9);
    z ^= z >> 32;
    return (int64_t)((z >> 32) % 60000001) >> (z % 24);
}

static void test_geometry(void **state)
{
    (void)state;
    int64_t expected_lowest = 0;
    for (size_t i = 0; i < HISTOGRAM_COUNTERS; i++) {
        int64_t lowest = histogram_lowest_us(i);
        int64_t highest = histogram_highest_us(i);
        assert_int_equal(lowest, expected_lowest); /* no gap, no overlap */
        assert_true(highest >= lowest);
        if (highest <= HISTOGRAM_HIGHEST_US) {
            assert_int_equal(histogram_index(lowest), i);
            assert_int_equal(histogram_index(highest), i);
        }
        /* 3 significant digits: a counter is never wider than a thousandth of its values */
        assert_true((highest - lowest) * 1000 <= lowest);
        expected_lowest = highest + 1;
    }
    assert_true(expected_lowest > HISTOGRAM_HIGHEST_US);
    assert_int_equal(histogram_index(2047), 2047);
    assert_int_equal(histogram_index(2048), histogram_index(2049));
    assert_true(histogram_index(HISTOGRAM_HIGHEST_US) < HISTOGRAM_COUNTERS);
}

static int compare_values(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* The nearest-rank percentile: value number ceil(p/100 * n) of the sorted values. Integers keep it
 * exact. */
static int64_t nearest_rank(const int64_t *sorted, uint64_t count, uint64_t per_100000)
{
    uint64_t rank = (per_100000 * count + 99999) / 100000;
    return sorted[rank ? rank - 1 : 0];
}

static void test_percentiles_are_nearest_rank(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1, 2, 3, 10, 99, 100, 101, 999, 1000, 1001, 20000};
    static const uint64_t per_100000[] = {0,     1,     25000, 50000, 90000,
                                          95000, 99000, 99900, 99999, 100000};
    struct histogram *histogram = new_histogram();
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        int64_t *values = calloc(counts[c], sizeof *values);
        histogram_reset(histogram);
        for (uint64_t i = 0; i < counts[c]; i++) {
            values[i] = value_at(i);
            histogram_record_us(histogram, values[i]);
        }
        qsort(values, counts[c], sizeof *values, compare_values);
        for (size_t p = 0; p < sizeof per_100000 / sizeof per_100000[0]; p++) {
            int64_t exact = nearest_rank(values, counts[c], per_100000[p]);
            int64_t got = histogram_percentile_us(histogram, (double)per_100000[p] / 1000);
            /* the highest value of the right counter, capped at the largest recorded value */
            int64_t expected = histogram_highest_us(histogram_index(exact));
            if (expected > values[counts[c] - 1])
                expected = values[counts[c] - 1];
            assert_int_equal(got, expected);
        }
        free(values);
    }
    free(histogram);
}

static void test_merge_equals_the_whole(void **state)
{
    (void)state;
    struct histogram *whole = new_histogram();
    struct histogram *merged = new_histogram();
    struct histogram *parts[3];
    for (size_t i = 0; i < 3; i++)
        parts[i] = new_histogram();
    for (uint64_t i = 0; i < 30000; i++) {
        int64_t value = value_at(i) + (i % 1000 == 0 ? 60000000 : 0);
        histogram_record_us(whole, value);
        histogram_record_us(parts[i % 2], value); /* the third stays empty */
    }
    for (size_t i = 0; i < 3; i++) {
        histogram_merge(merged, parts[i]);
        free(parts[i]);
    }
    assert_memory_equal(whole->counters, merged->counters, sizeof whole->counters);
    assert_int_equal(whole->count, merged->count);
    assert_int_equal(whole->sum_us, merged->sum_us);
    assert_int_equal(whole->min_us, merged->min_us);
    assert_int_equal(whole->max_us, merged->max_us);
    assert_int_equal(whole->clamped, merged->clamped);
    assert_int_equal(merged->clamped, 30);
    free(whole);
    free(merged);
}

/* From HdrHistogram_c, test/hdr_histogram_test.c: 10,000 values of 1 ms and one of 100 s,
 * uncorrected. Our range ends at 60 s. */
static void test_figures_of_hdr_histogram(void **state)
{
    (void)state;
    struct histogram *histogram = new_histogram();
    for (int i = 0; i < 10000; i++)
        histogram_record_us(histogram, 1000);
    histogram_record_us(histogram, 100000000);
    assert_int_equal(histogram->count, 10001);
    assert_int_equal(histogram_percentile_us(histogram, 30), 1000);
    assert_int_equal(histogram_percentile_us(histogram, 99.99), 1000);
    assert_int_equal(histogram_percentile_us(histogram, 100), HISTOGRAM_HIGHEST_US);
    assert_int_equal(histogram->clamped, 1);
    free(histogram);
}

static void test_edges(void **state)
{
    (void)state;
    struct histogram *histogram = new_histogram();
    assert_int_equal(histogram_percentile_us(histogram, 99), 0);
    assert_true(fabs(histogram_mean_us(histogram)) < 1e-12);
    histogram_record_us(histogram, -5);
    assert_int_equal(histogram->max_us, 0);
    histogram_record_ns(histogram, 1499);
    assert_int_equal(histogram->max_us, 1);
    histogram_record_ns(histogram, 1500);
    assert_int_equal(histogram->max_us, 2);
    histogram_record_us(histogram, HISTOGRAM_HIGHEST_US);
    assert_int_equal(histogram->clamped, 0);
    assert_int_equal(histogram->min_us, 0);
    assert_true(fabs(histogram_mean_us(histogram) - 60000003.0 / 4) < 1e-6);
    free(histogram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_geometry),
        cmocka_unit_test(test_percentiles_are_nearest_rank),
        cmocka_unit_test(test_merge_equals_the_whole),
        cmocka_unit_test(test_figures_of_hdr_histogram),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
