#include "loadtest/books/seconds.h"

#include "tests/support/support.h"

#include <math.h>

#define S  CLOCK_NS_PER_S
#define MS CLOCK_NS_PER_MS

static int setup(void **state)
{
    static struct seconds seconds;
    *state = &seconds;
    return seconds_init(&seconds, 10 * S) ? 0 : -1;
}

static int teardown(void **state)
{
    seconds_destroy(*state);
    return 0;
}

static void end(struct seconds *seconds, enum outcome outcome, int64_t due_ns, int64_t waited_ns)
{
    seconds_end(seconds, &(struct second_end){.outcome = outcome,
                                              .due_ns = due_ns,
                                              .at_ns = due_ns + waited_ns,
                                              .waited_ns = waited_ns});
}

static void test_a_request_counts_where_it_was_due_and_where_it_ended(void **state)
{
    struct seconds *seconds = *state;
    end(seconds, OUTCOME_OK, 1 * S + 900 * MS, 50 * MS);
    end(seconds, OUTCOME_OK, 1 * S + 900 * MS, 150 * MS);
    end(seconds, OUTCOME_OK, 1 * S + 900 * MS, 250 * MS);
    end(seconds, OUTCOME_HTTP_ERROR, 1 * S, 2 * S);
    const struct second_row *due = &seconds->rows[1];
    assert_int_equal(due->ended, 4);
    assert_int_equal(due->right, 3);
    assert_int_equal(due->within, 2);
    assert_int_equal(due->outcomes[OUTCOME_OK], 1);
    assert_int_equal(seconds->rows[2].outcomes[OUTCOME_OK], 2);
    assert_int_equal(seconds->rows[2].slow, 1);
    assert_int_equal(seconds->rows[3].outcomes[OUTCOME_HTTP_ERROR], 1);
    assert_int_equal(seconds->rows[3].ended, 0);
}

static void test_probes_know_the_right_answer(void **state)
{
    struct seconds *seconds = *state;
    struct second_end wrong = {.outcome = OUTCOME_WRONG, .due_ns = 0, .at_ns = MS, .waited_ns = MS};
    seconds_end(seconds, &wrong);
    wrong.is_probe = true;
    seconds_end(seconds, &wrong);
    wrong.outcome = OUTCOME_OK;
    seconds_end(seconds, &wrong);
    assert_int_equal(seconds->rows[0].probed, 2);
    assert_int_equal(seconds->rows[0].probed_wrong, 1);
    assert_int_equal(seconds->rows[0].outcomes[OUTCOME_WRONG], 2);
}

static void test_what_is_demanded_due_and_late(void **state)
{
    struct seconds *seconds = *state;
    seconds_demand(seconds, 4 * S + 1);
    seconds_demand(seconds, 4 * S + 2);
    seconds_take_up(seconds, 4 * S + 2, 5 * S + 3 * MS);
    seconds_attempt(seconds, 5 * S + 3 * MS);
    seconds_attempt(seconds, 5 * S + 4 * MS);
    assert_int_equal(seconds->rows[4].demanded, 2);
    assert_int_equal(seconds->rows[4].due, 1);
    assert_int_equal(seconds->rows[5].attempts, 2);
    assert_in_range(seconds->rows[5].lag_max_us, 1002000, 1003000);
    assert_int_equal(seconds->rows[4].lag_max_us, 0);
}

static void test_what_comes_after_the_last_row_is_not_kept(void **state)
{
    struct seconds *seconds = *state;
    struct seconds day;
    end(seconds, OUTCOME_OK, 10 * S, 5 * S);
    assert_int_equal(seconds->rows[10].right, 1);
    assert_null(seconds_at(seconds, 11 * S));
    assert_int_equal(seconds_begun(seconds, -S), 0);
    assert_int_equal(seconds_begun(seconds, 0), 1);
    assert_int_equal(seconds_begun(seconds, 100 * S), 11);
    assert_true(seconds_init(&day, 86400 * S));
    assert_int_equal(day.count, SECONDS_MAX);
    seconds_destroy(&day);
}

static void test_workers_are_added_up(void **state)
{
    struct seconds *sum = *state;
    struct seconds part;
    assert_true(seconds_init(&part, 10 * S));
    end(&part, OUTCOME_OK, 2 * S, 100 * MS);
    end(&part, OUTCOME_OK, 3 * S, 100 * MS);
    seconds_take_up(&part, 2 * S, 2 * S + 7 * MS);
    seconds_add(sum, &part, 2, 3);
    seconds_add(sum, &part, 2, 3);
    assert_int_equal(sum->rows[2].right, 2);
    assert_int_equal(sum->rows[2].lag_max_us, 7000);
    assert_int_equal(sum->rows[3].right, 0);
    seconds_clear(sum, 2, 3);
    assert_int_equal(sum->rows[2].right, 0);
    seconds_destroy(&part);
}

static void test_percentiles_are_off_by_a_tenth_at_most(void **state)
{
    struct seconds *seconds = *state;
    assert_true(isnan(second_percentile_ms(&seconds->rows[0], 50)));
    for (int i = 1; i <= 100; i++)
        end(seconds, OUTCOME_OK, 0, i * 5 * MS); /* all ended by 500 ms */
    double p50 = second_percentile_ms(&seconds->rows[0], 50);
    double p99 = second_percentile_ms(&seconds->rows[0], 99);
    assert_true(p50 > 250 * 0.9 && p50 < 250 * 1.1);
    assert_true(p99 > 495 * 0.9 && p99 < 495 * 1.1);
    seconds_end(seconds, &(struct second_end){.outcome = OUTCOME_TIMEOUT,
                                              .due_ns = 5 * S,
                                              .at_ns = 5 * S,
                                              .waited_ns = 60 * S});
    double timeout = second_percentile_ms(&seconds->rows[5], 99);
    assert_true(timeout > 54000 && timeout < 66000);
    end(seconds, OUTCOME_OK, 6 * S, 0);
    assert_true(second_percentile_ms(&seconds->rows[6], 50) == 1);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(test_a_request_counts_where_it_was_due_and_where_it_ended),
        ROW(test_probes_know_the_right_answer),
        ROW(test_what_is_demanded_due_and_late),
        ROW(test_what_comes_after_the_last_row_is_not_kept),
        ROW(test_workers_are_added_up),
        ROW(test_percentiles_are_off_by_a_tenth_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
