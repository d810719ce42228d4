/* The run cut into slots, and their small histograms. */
#include "loadtest/books/timeline.h"

#include "tests/support/support.h"

#define HOUR_NS (3600 * CLOCK_NS_PER_S)

static struct timeline make(int64_t span_ns)
{
    struct timeline timeline;
    assert_true(timeline_init(&timeline, span_ns));
    return timeline;
}

static void test_long_runs_have_wide_slots(void **state)
{
    (void)state;
    static const struct {
        int64_t span_ns, slot_ns;
    } cases[] = {
        {1, CLOCK_NS_PER_S / 4},
        {150 * CLOCK_NS_PER_S, CLOCK_NS_PER_S / 4},
        {150 * CLOCK_NS_PER_S + 1, CLOCK_NS_PER_S / 2},
        {300 * CLOCK_NS_PER_S + 1, CLOCK_NS_PER_S},
        {HOUR_NS, 10 * CLOCK_NS_PER_S},
        {24 * HOUR_NS, 300 * CLOCK_NS_PER_S},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct timeline timeline = make(cases[i].span_ns);
        assert_int_equal(timeline.slot_ns, cases[i].slot_ns);
        assert_in_range(timeline.slot_count, 1, TIMELINE_SLOTS_MAX);
        assert_true(timeline.slot_count * timeline.slot_ns > cases[i].span_ns); /* the end too */
        timeline_destroy(&timeline);
        assert_null(timeline.slots);
    }
}

/* A span longer than any run may have: the last slot takes the rest. */
static void test_slots_are_never_too_many(void **state)
{
    (void)state;
    struct timeline timeline = make(1000 * HOUR_NS);
    assert_int_equal(timeline.slot_count, TIMELINE_SLOTS_MAX);
    assert_int_equal(timeline_slot_at(&timeline, 1000 * HOUR_NS), TIMELINE_SLOTS_MAX - 1);
    timeline_destroy(&timeline);
}

static void test_a_moment_is_in_one_slot(void **state)
{
    (void)state;
    struct timeline timeline = make(CLOCK_NS_PER_S);
    assert_int_equal(timeline.slot_count, 5);
    static const struct {
        int64_t at_ns;
        unsigned slot;
    } cases[] = {{0, 0},
                 {CLOCK_NS_PER_S / 4 - 1, 0},
                 {CLOCK_NS_PER_S / 4, 1},
                 {CLOCK_NS_PER_S, 4},
                 {-1, 0},
                 {INT64_MIN, 0},
                 {9 * CLOCK_NS_PER_S, 4},
                 {INT64_MAX, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(timeline_slot_at(&timeline, cases[i].at_ns), cases[i].slot);
    timeline_destroy(&timeline);
}

static void test_a_new_timeline_is_empty(void **state)
{
    (void)state;
    struct timeline timeline = make(CLOCK_NS_PER_S);
    static const struct timeline_slot empty;
    for (unsigned i = 0; i < timeline.slot_count; i++)
        assert_memory_equal(&timeline.slots[i], &empty, sizeof empty);
    timeline_destroy(&timeline);
}

static void test_merging_adds_slot_by_slot(void **state)
{
    (void)state;
    struct timeline into = make(CLOCK_NS_PER_S);
    struct timeline from = make(CLOCK_NS_PER_S);
    from.slots[1].scheduled = 2;
    from.slots[1].attempts = 3;
    from.slots[4].outcomes[OUTCOME_OK] = 4;
    from.slots[4].outcomes[OUTCOME_DROPPED] = 5;
    coarse_histogram_record_ns(&from.slots[4].response, CLOCK_NS_PER_MS);
    coarse_histogram_record_ns(&from.slots[4].response, 20 * CLOCK_NS_PER_US);
    coarse_histogram_record_ns(&from.slots[4].service, 10 * CLOCK_NS_PER_US);
    timeline_merge(&into, &from);
    timeline_merge(&into, &from);
    assert_int_equal(into.slots[0].scheduled, 0);
    assert_int_equal(into.slots[1].scheduled, 4);
    assert_int_equal(into.slots[1].attempts, 6);
    assert_int_equal(into.slots[4].outcomes[OUTCOME_OK], 8);
    assert_int_equal(into.slots[4].outcomes[OUTCOME_DROPPED], 10);
    assert_int_equal(into.slots[4].outcomes[OUTCOME_WRONG], 0);
    assert_int_equal(into.slots[4].response.count, 4);
    assert_int_equal(coarse_histogram_percentile_us(&into.slots[4].response, 50), 20);
    assert_int_equal(into.slots[4].service.count, 2);
    assert_int_equal(coarse_histogram_percentile_us(&into.slots[4].service, 100), 10);
    timeline_destroy(&into);
    timeline_destroy(&from);
}

static int64_t read_back_us(int64_t value_ns)
{
    struct coarse_histogram histogram = {.count = 0};
    coarse_histogram_record_ns(&histogram, value_ns);
    assert_int_equal(histogram.count, 1);
    return coarse_histogram_percentile_us(&histogram, 50);
}

static void test_a_value_is_off_by_three_percent_at_most(void **state)
{
    (void)state;
    for (int64_t us = 0; us < 60 * 1000 * 1000; us += 1 + us / 50) {
        int64_t read_us = read_back_us(us * 1000);
        assert_true(read_us >= us);
        assert_true((double)(read_us - us) <= 0.032 * (double)us);
        if (us < 64)
            assert_int_equal(read_us, us);
    }
}

static void test_values_round_to_the_nearest_microsecond(void **state)
{
    (void)state;
    assert_int_equal(read_back_us(1499), 1);
    assert_int_equal(read_back_us(1500), 2);
    assert_int_equal(read_back_us(499), 0);
    assert_int_equal(read_back_us(-5000), 0);
}

static void test_what_is_too_large_is_the_largest(void **state)
{
    (void)state;
    int64_t largest_us = (INT64_C(1) << 26) - 1;
    assert_int_equal(read_back_us(largest_us * 1000), largest_us);
    assert_int_equal(read_back_us(HOUR_NS), largest_us);
}

static void test_percentiles_are_of_the_nearest_rank(void **state)
{
    (void)state;
    struct coarse_histogram histogram = {.count = 0};
    assert_int_equal(coarse_histogram_percentile_us(&histogram, 99), 0);
    for (int64_t us = 1; us <= 50; us++)
        coarse_histogram_record_ns(&histogram, us * 1000);
    static const struct {
        double percent;
        int64_t us;
    } cases[] = {{0, 1}, {2, 1}, {2.1, 2}, {50, 25}, {98, 49}, {98.1, 50}, {100, 50}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(coarse_histogram_percentile_us(&histogram, cases[i].percent), cases[i].us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_runs_have_wide_slots),
        cmocka_unit_test(test_slots_are_never_too_many),
        cmocka_unit_test(test_a_moment_is_in_one_slot),
        cmocka_unit_test(test_a_new_timeline_is_empty),
        cmocka_unit_test(test_merging_adds_slot_by_slot),
        cmocka_unit_test(test_a_value_is_off_by_three_percent_at_most),
        cmocka_unit_test(test_values_round_to_the_nearest_microsecond),
        cmocka_unit_test(test_what_is_too_large_is_the_largest),
        cmocka_unit_test(test_percentiles_are_of_the_nearest_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
