#include "loadtest/plan/schedule_change.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/text.h"

static void test_constant_spacing(void **state)
{
    (void)state;
    struct schedule schedule;
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    schedule_init(&schedule, 3, 10, 1);
    schedule_cursor_init(&cursor, &schedule, 0, 1);
    assert_int_equal(schedule.count, 30);
    for (uint64_t i = 0; i < 30; i++) {
        assert_true(schedule_next(&cursor, &arrival));
        assert_int_equal(arrival.index, i);
        /* i / 3 s to the nearest nanosecond, so no error adds up */
        assert_int_equal(arrival.at_ns, (int64_t)(i * CLOCK_NS_PER_S * 2 + 3) / 6);
        assert_in_range(arrival.feed_id, 1, SCHEDULE_FEEDS);
    }
    assert_false(schedule_next(&cursor, &arrival));
    assert_false(schedule_next(&cursor, &arrival));
}

static void test_counts(void **state)
{
    (void)state;
    static const struct {
        double rate, duration;
        uint64_t count;
    } cases[] = {{20, 10, 200}, {0.1, 30, 3}, {0.7, 10, 7},           {100, 0.29, 29},
                 {1, 1.5, 1},   {1, 0.5, 1},  {1e6, 3600, 3600000000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct schedule schedule;
        schedule_init(&schedule, cases[i].rate, cases[i].duration, 1);
        assert_int_equal(schedule.count, cases[i].count);
    }
}

static void test_parts_make_up_the_whole(void **state)
{
    (void)state;
    struct schedule schedule;
    schedule_init(&schedule, 1000, 1, 42);
    for (unsigned parts = 1; parts <= 7; parts++) {
        bool seen[1000] = {false};
        for (unsigned part = 0; part < parts; part++) {
            struct schedule_cursor cursor;
            struct schedule_cursor alone;
            struct schedule_arrival arrival;
            schedule_cursor_init(&cursor, &schedule, part, parts);
            while (schedule_next(&cursor, &arrival)) {
                struct schedule_arrival same;
                assert_false(seen[arrival.index]);
                seen[arrival.index] = true;
                schedule_cursor_init(&alone, &schedule, 0, 1);
                alone.next_index = arrival.index;
                assert_true(schedule_next(&alone, &same));
                assert_int_equal(arrival.feed_id, same.feed_id);
                assert_int_equal(arrival.at_ns, same.at_ns);
            }
        }
        for (size_t i = 0; i < 1000; i++)
            assert_true(seen[i]);
    }
}

static struct schedule parsed(const char *text)
{
    struct schedule schedule;
    char why[256] = "";
    assert_true(schedule_parse(&schedule, text, 1, why, sizeof why));
    return schedule;
}

static void test_stages(void **state)
{
    (void)state;
    struct schedule schedule = parsed("20/10s,20-60/30s,0/500ms,100/1m");
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    int64_t last_ns = -1;
    uint64_t by_stage[4] = {0};
    assert_int_equal(schedule.stage_count, 4);
    assert_int_equal(schedule.count, 200 + 1200 + 0 + 6000);
    assert_true(schedule.duration_s > 100.49 && schedule.duration_s < 100.51);
    assert_true(schedule_peak_rate(&schedule) == 100);
    schedule_cursor_init(&cursor, &schedule, 0, 1);
    while (schedule_next(&cursor, &arrival)) {
        double at_s = (double)arrival.at_ns / 1e9;
        assert_true(arrival.at_ns > last_ns);
        last_ns = arrival.at_ns;
        by_stage[(at_s >= 10) + (at_s >= 40) + (at_s >= 40.5)]++;
        if (at_s >= 10 && at_s < 40) { /* at t s into the ramp, 20 t + (2/3) t^2 are due */
            double into_s = at_s - 10;
            double due = 200 + 20 * into_s + into_s * into_s * 2 / 3;
            assert_true(due > (double)arrival.index - 1e-3 && due < (double)arrival.index + 1e-3);
        }
    }
    assert_int_equal(by_stage[0], 200);
    assert_int_equal(by_stage[1], 1200);
    assert_int_equal(by_stage[2], 0);
    assert_int_equal(by_stage[3], 6000);
}

static void test_stages_that_are_none(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",       "20",      "20/",     "/10s",         "20/0s",       "x/10s",  "-5/10s",
        "20/10d", "20/10s,", "20-/10s", "1e9/1s",       "inf/1s",      "nan/1s", "0/10s",
        "0.1/1s", " 20/1s",  "20/25h",  "20/23h,20/2h", "20-60-80/10s"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct schedule schedule;
        char why[256] = "";
        assert_false(schedule_parse(&schedule, wrong[i], 1, why, sizeof why));
        assert_true(why[0] != '\0');
    }
    struct text many = {0};
    text_add(&many, "1/2s");
    for (int i = 1; i < SCHEDULE_STAGES_MAX; i++)
        text_add(&many, ",1/2s");
    assert_int_equal(parsed(many.data).stage_count, SCHEDULE_STAGES_MAX);
    text_add(&many, ",1/2s");
    struct schedule schedule;
    char why[256] = "";
    assert_false(schedule_parse(&schedule, many.data, 1, why, sizeof why));
    assert_non_null(strstr(why, "more than 64 stages"));
    text_clear(&many);
}

/* Exponential gaps: mean and standard deviation are equal, and a share of e^-1 is longer than the
 * mean. The bounds are five standard errors for n = 100,000. */
static void test_poisson(void **state)
{
    (void)state;
    struct schedule schedule;
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    schedule_init(&schedule, 1000, 100, 5);
    uint64_t constant_hash = schedule_hash(&schedule);
    schedule_set_arrivals(&schedule, ARRIVALS_POISSON);
    assert_int_not_equal(schedule_hash(&schedule), constant_hash);
    schedule_cursor_init(&cursor, &schedule, 0, 1);
    double sum = 0;
    double squares = 0;
    uint64_t longer = 0;
    int64_t last_ns = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        assert_true(schedule_next(&cursor, &arrival));
        assert_true(arrival.at_ns >= last_ns && arrival.at_ns <= 100 * CLOCK_NS_PER_S);
        double gap_ms = (double)(arrival.at_ns - last_ns) / 1e6;
        last_ns = arrival.at_ns;
        sum += gap_ms;
        squares += gap_ms * gap_ms;
        longer += gap_ms > 1;
    }
    assert_false(schedule_next(&cursor, &arrival));
    double mean = sum / 100000;
    assert_true(mean > 0.999 && mean < 1.001); /* the count is fixed, so the mean is too */
    assert_true(squares / 100000 > 1.93 && squares / 100000 < 2.07);
    assert_in_range(longer, 36788 - 800, 36788 + 800);
}

static void test_poisson_parts_make_up_the_whole(void **state)
{
    (void)state;
    struct schedule schedule = parsed("100/2s,100-0/2s");
    struct schedule_cursor whole;
    struct schedule_cursor parts[3];
    struct schedule_arrival arrival;
    struct schedule_arrival same;
    schedule_set_arrivals(&schedule, ARRIVALS_POISSON);
    schedule_cursor_init(&whole, &schedule, 0, 1);
    for (unsigned i = 0; i < 3; i++)
        schedule_cursor_init(&parts[i], &schedule, i, 3);
    for (uint64_t i = 0; i < schedule.count; i++) {
        assert_true(schedule_next(&whole, &arrival));
        assert_true(schedule_next(&parts[i % 3], &same));
        assert_int_equal(arrival.index, same.index);
        assert_int_equal(arrival.at_ns, same.at_ns);
        assert_int_equal(arrival.feed_id, same.feed_id);
    }
}

static void test_the_hash_tells_schedules_apart(void **state)
{
    (void)state;
    static const char *const texts[] = {"20/10s", "20/10001ms", "20/5s,20/5s", "20-20.1/10s"};
    uint64_t hashes[5];
    struct schedule other;
    for (size_t i = 0; i < 4; i++) {
        struct schedule schedule = parsed(texts[i]);
        hashes[i] = schedule_hash(&schedule);
    }
    schedule_init(&other, 20, 10, 2);
    hashes[4] = schedule_hash(&other);
    assert_int_equal(hashes[0], hashes[2]); /* the same requests at the same times */
    assert_int_not_equal(hashes[0], hashes[1]);
    assert_int_not_equal(hashes[0], hashes[3]);
    assert_int_not_equal(hashes[0], hashes[4]);
}

static void count_feeds(uint64_t seed, unsigned counts[SCHEDULE_FEEDS + 1], uint32_t *first)
{
    struct schedule schedule;
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    schedule_init(&schedule, 1000, 100, seed);
    schedule_cursor_init(&cursor, &schedule, 0, 1);
    *first = 0;
    while (schedule_next(&cursor, &arrival)) {
        counts[arrival.feed_id]++;
        if (*first == 0)
            *first = arrival.feed_id;
    }
}

static void test_feeds_are_random_but_seeded(void **state)
{
    (void)state;
    unsigned counts[3][SCHEDULE_FEEDS + 1] = {{0}};
    uint32_t first[3];
    count_feeds(1, counts[0], &first[0]);
    count_feeds(1, counts[1], &first[1]);
    count_feeds(2, counts[2], &first[2]);
    assert_memory_equal(counts[0], counts[1], sizeof counts[0]);
    assert_memory_not_equal(counts[0], counts[2], sizeof counts[0]);
    /* 100 a feed on average, with a standard deviation of 10: 50 off means a bug */
    for (size_t i = 1; i <= SCHEDULE_FEEDS; i++)
        assert_in_range(counts[0][i], 50, 150);
}

/* The arrivals of a whole schedule from a moment on are those of its rest. */
static void test_the_rest_goes_on_at_the_same_rates(void **state)
{
    (void)state;
    static const struct {
        const char *whole;
        double from_s;
        const char *rest;
    } cases[] = {
        {"20/10s", 4, "20/6s"},        {"20/10s,50/5s", 10, "50/5s"},
        {"20/10s,50/5s", 12, "50/3s"}, {"10-30/10s,30/5s", 5, "20-30/5s,30/5s"},
        {"0/5s,8-0/4s", 6, "6-0/3s"},  {"20/10s", 0, "20/10s"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct schedule whole = parsed(cases[i].whole);
        struct schedule expected = parsed(cases[i].rest);
        struct schedule rest;
        schedule_rest(&rest, &whole, cases[i].from_s, 9);
        assert_int_equal(rest.seed, 9);
        assert_int_equal(rest.count, expected.count);
        assert_int_equal(rest.stage_count, expected.stage_count);
        for (size_t j = 0; j < rest.stage_count; j++) {
            assert_true(rest.stages[j].from_per_s == expected.stages[j].from_per_s);
            assert_true(rest.stages[j].to_per_s == expected.stages[j].to_per_s);
            assert_true(rest.stages[j].duration_s == expected.stages[j].duration_s);
        }
    }
}

static void test_the_last_rate_holds_until_the_end(void **state)
{
    (void)state;
    char why[256] = "";
    struct schedule schedule = parsed("120/500ms,20-40/2s");
    assert_true(schedule_hold_until(&schedule, 10, why, sizeof why));
    assert_int_equal(schedule.stage_count, 3);
    assert_true(schedule.duration_s == 10 && schedule.expected == 60 + 60 + 7.5 * 40);
    assert_true(schedule_hold_until(&schedule, 10, why, sizeof why));
    assert_int_equal(schedule.stage_count, 3);
    assert_false(schedule_hold_until(&schedule, 9.5, why, sizeof why));
    assert_string_equal(why, "they take 10 s, and 9.5 s are left");
}

static void test_counting_agrees_with_walking(void **state)
{
    (void)state;
    static const char *const texts[] = {"20/10s", "3/10s", "0/2s,5-50/5s,0/1s,7/3s", "50-0/9s"};
    for (int arrivals = ARRIVALS_CONSTANT; arrivals <= ARRIVALS_POISSON; arrivals++)
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            struct schedule schedule = parsed(texts[i]);
            schedule_set_arrivals(&schedule, (enum arrivals)arrivals);
            for (int64_t at_ns = 0; at_ns < 12 * CLOCK_NS_PER_S; at_ns += CLOCK_NS_PER_S / 4) {
                struct schedule_cursor cursor;
                struct schedule_arrival arrival;
                uint64_t walked = 0;
                schedule_cursor_init(&cursor, &schedule, 0, 1);
                while (schedule_next(&cursor, &arrival) && arrival.at_ns < at_ns)
                    walked++;
                assert_int_equal(schedule_count_before(&schedule, at_ns), walked);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant_spacing),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_parts_make_up_the_whole),
        cmocka_unit_test(test_stages),
        cmocka_unit_test(test_stages_that_are_none),
        cmocka_unit_test(test_poisson),
        cmocka_unit_test(test_poisson_parts_make_up_the_whole),
        cmocka_unit_test(test_the_hash_tells_schedules_apart),
        cmocka_unit_test(test_feeds_are_random_but_seeded),
        cmocka_unit_test(test_the_rest_goes_on_at_the_same_rates),
        cmocka_unit_test(test_the_last_rate_holds_until_the_end),
        cmocka_unit_test(test_counting_agrees_with_walking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
