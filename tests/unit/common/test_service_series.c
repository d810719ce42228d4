/* The service's figures over time: bounded, evenly thinned, the first look always kept. */
#include "common/client/service_series.h"

#include "tests/support/support.h"

/* The time of each look is its number. */
static struct service_series *after(unsigned looks)
{
    struct service_series *series = calloc(1, sizeof *series);
    assert_non_null(series);
    for (unsigned i = 0; i < looks; i++) {
        const struct service_point point = {.at_ns = i, .restarts = i / 2};
        service_series_add(series, &point);
    }
    return series;
}

static void assert_every(const struct service_series *series, int64_t stride)
{
    assert_int_equal(series->stride, stride);
    for (size_t i = 0; i < series->count; i++) {
        assert_int_equal(series->points[i].at_ns, (int64_t)i * stride);
        assert_int_equal(series->points[i].restarts, (int64_t)i * stride / 2);
    }
}

static void test_all_looks_are_kept_while_there_is_room(void **state)
{
    (void)state;
    static const unsigned looks[] = {1, 2, SERVICE_SERIES_MAX};
    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
        struct service_series *series = after(looks[i]);
        assert_int_equal(series->count, looks[i]);
        assert_every(series, 1);
        free(series);
    }
}

static void test_every_second_goes_when_it_is_full(void **state)
{
    (void)state;
    struct service_series *series = after(SERVICE_SERIES_MAX + 1);
    assert_int_equal(series->count, SERVICE_SERIES_MAX / 2 + 1);
    assert_every(series, 2);
    free(series);
}

static void test_only_every_second_comes_from_then_on(void **state)
{
    (void)state;
    struct service_series *series = after(SERVICE_SERIES_MAX + 2);
    assert_int_equal(series->count, SERVICE_SERIES_MAX / 2 + 1);
    free(series);
    series = after(SERVICE_SERIES_MAX + 3);
    assert_int_equal(series->count, SERVICE_SERIES_MAX / 2 + 2);
    assert_every(series, 2);
    free(series);
}

/* 1,000,000 looks, four a second, take almost three days. */
static void test_days_of_looks_fit(void **state)
{
    (void)state;
    struct service_series *series = after(1000 * 1000);
    assert_in_range(series->count, SERVICE_SERIES_MAX / 2, SERVICE_SERIES_MAX);
    assert_every(series, 1024);
    free(series);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_looks_are_kept_while_there_is_room),
        cmocka_unit_test(test_every_second_goes_when_it_is_full),
        cmocka_unit_test(test_only_every_second_comes_from_then_on),
        cmocka_unit_test(test_days_of_looks_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
