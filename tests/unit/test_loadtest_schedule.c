#include "loadtest/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "common/clock.h"

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
        /* i / 3 s to the nearest nanosecond: no error adds up */
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
    /* 100 a feed on average; 10 is the standard deviation, so 50 off is impossible but for a bug */
    for (size_t i = 1; i <= SCHEDULE_FEEDS; i++)
        assert_in_range(counts[0][i], 50, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant_spacing),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_parts_make_up_the_whole),
        cmocka_unit_test(test_feeds_are_random_but_seeded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
