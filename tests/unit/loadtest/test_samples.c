/* Plain arrays of durations, which serve to check histograms. */
#include "loadtest/base/samples.h"

#include "common/histogram.h"
#include "tests/support/support.h"

#include <math.h>

static void test_sorting_orders_numbers_of_any_sign(void **state)
{
    (void)state;
    int64_t samples_ns[] = {3, INT64_MAX, -1, 0, 3, INT64_MIN, 2};
    const int64_t sorted_ns[] = {INT64_MIN, -1, 0, 2, 3, 3, INT64_MAX};
    samples_sort(samples_ns, 7);
    assert_memory_equal(samples_ns, sorted_ns, sizeof sorted_ns);
    samples_sort(samples_ns, 0);
    assert_memory_equal(samples_ns, sorted_ns, sizeof sorted_ns);
}

static void test_percentiles_are_of_the_nearest_rank(void **state)
{
    (void)state;
    int64_t sorted_ns[1000];
    for (int64_t i = 0; i < 1000; i++)
        sorted_ns[i] = (i + 1) * CLOCK_NS_PER_MS;
    static const struct {
        double percent, expected_ms;
    } cases[] = {{0, 1}, {0.1, 1}, {0.11, 2}, {50, 500}, {99.9, 999}, {99.91, 1000}, {100, 1000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_true(samples_percentile_ms(sorted_ns, 1000, cases[i].percent) ==
                    cases[i].expected_ms);
    assert_true(samples_percentile_ms(sorted_ns, 1, 0) == 1);
    assert_true(samples_percentile_ms(sorted_ns, 1, 100) == 1);
}

/* The purpose of samples: to check a histogram. */
static void test_percentiles_are_the_histograms(void **state)
{
    (void)state;
    static struct histogram histogram;
    int64_t samples_ns[777];
    for (int64_t i = 0; i < 777; i++) {
        samples_ns[i] = (i * 1009 % 2003) * CLOCK_NS_PER_US; /* below 2,048 us: exact */
        histogram_record_ns(&histogram, samples_ns[i]);
    }
    samples_sort(samples_ns, 777);
    for (int per_mille = 0; per_mille <= 1000; per_mille++) {
        double percent = per_mille / 10.0;
        assert_true(fabs(samples_percentile_ms(samples_ns, 777, percent) * 1000 -
                         (double)histogram_percentile_us(&histogram, percent)) < 1e-6);
    }
    assert_true(fabs(samples_mean_ms(samples_ns, 777) * 1000 - histogram_mean_us(&histogram)) <
                1e-6);
}

static void test_the_mean_needs_no_order(void **state)
{
    (void)state;
    const int64_t samples_ns[] = {9 * CLOCK_NS_PER_MS, CLOCK_NS_PER_MS, 2 * CLOCK_NS_PER_MS};
    assert_true(samples_mean_ms(samples_ns, 3) == 4);
    assert_true(samples_mean_ms(samples_ns, 1) == 9);
    const int64_t longest_ns[] = {INT64_MAX, INT64_MAX}; /* their sum overflows an integer */
    assert_true(samples_mean_ms(longest_ns, 2) > 9.2e12);
}

static void test_equal_is_not_longer(void **state)
{
    (void)state;
    const int64_t samples_ns[] = {5, 1, 5, 6, 7};
    assert_int_equal(samples_longer(samples_ns, 5, 5), 2);
    assert_int_equal(samples_longer(samples_ns, 5, 4), 4);
    assert_int_equal(samples_longer(samples_ns, 5, 7), 0);
    assert_int_equal(samples_longer(samples_ns, 5, -1), 5);
    assert_int_equal(samples_longer(samples_ns, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorting_orders_numbers_of_any_sign),
        cmocka_unit_test(test_percentiles_are_of_the_nearest_rank),
        cmocka_unit_test(test_percentiles_are_the_histograms),
        cmocka_unit_test(test_the_mean_needs_no_order),
        cmocka_unit_test(test_equal_is_not_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
