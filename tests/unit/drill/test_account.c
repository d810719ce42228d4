/* Alerts and recoveries, worked out from rows: the thresholds of the house's load, what leaves the
 * windows, and each reason why a window does not hold. */
#include "drill/account/alert.h"
#include "drill/account/recovery.h"

#include "tests/support/support.h"

#include <math.h>

#define RATE 20

static struct account_row rows[ACCOUNT_SECONDS_MAX];

/* Healthy seconds at the house's rate. */
static void fill(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        rows[i] = (struct account_row){.known = true,
                                       .final = true,
                                       .demanded = RATE,
                                       .due = RATE,
                                       .ended = RATE,
                                       .right = RATE,
                                       .within = RATE,
                                       .right_ended = RATE,
                                       .attempts = RATE,
                                       .p50_ms = 63,
                                       .p99_ms = 73,
                                       .up = true,
                                       .pool_max = 6,
                                       .share_percent = 100,
                                       .defect_covered = true};
}

static void make_bad(unsigned second, unsigned bad)
{
    rows[second].right -= bad;
    rows[second].within -= bad;
    rows[second].right_ended -= bad;
    rows[second].bad_ended += bad;
}

static void make_slow(unsigned second, unsigned slow)
{
    rows[second].within -= slow;
    rows[second].slow_ended += slow;
}

static struct alert look(unsigned count)
{
    return alert_look(rows, count, 1, false);
}

/* ---- the page ------------------------------------------------------------------------------- */

/* At 20 requests a second: 18 bad of 1,200 and 3 of 200, or 44 of 7,200 and 4 of 600. */
static void test_the_thresholds_for_answers(void **state)
{
    (void)state;
    fill(600);
    assert_false(look(600).fires);
    make_bad(545, 15);
    make_bad(599, 2);
    assert_false(look(600).fires); /* 17 and 2 */
    make_bad(599, 1);
    assert_true(look(600).fires); /* 18 and 3 */
    assert_int_equal(look(600).sli, SLI_ANSWERS);
    assert_int_equal(look(600).rule, 0);
    fill(600);
    make_bad(300, 20);
    make_bad(301, 20);
    make_bad(575, 3);
    assert_false(look(600).fires); /* 43 and 3 */
    make_bad(576, 1);
    assert_true(look(600).fires); /* 44 and 4 */
    assert_int_equal(look(600).rule, 1);
}

/* 173 late of 1,200 and 29 of 200. */
static void test_the_thresholds_for_latency(void **state)
{
    (void)state;
    fill(600);
    for (unsigned i = 0; i < 9; i++)
        make_slow(541 + i, 16);
    make_slow(598, 14);
    make_slow(599, 14);
    assert_false(look(600).fires); /* 172 and 28 */
    make_slow(599, 1);
    assert_true(look(600).fires);
    assert_int_equal(look(600).sli, SLI_LATENCY);
}

static void test_a_fire_that_has_passed_pages_no_more(void **state)
{
    (void)state;
    fill(600);
    for (unsigned i = 580; i < 585; i++)
        make_bad(i, RATE);
    assert_true(look(590).fires);
    fill(660);
    for (unsigned i = 580; i < 585; i++)
        make_bad(i, RATE);
    assert_false(look(660).fires);
}

static void test_windows_begin_with_the_load(void **state)
{
    (void)state;
    fill(5);
    make_bad(4, 2);
    assert_true(look(5).fires); /* 2 of 100 are 20 budgets */
    assert_false(alert_look(rows, 0, 1, false).fires);
}

static void test_a_wrong_probe_pages(void **state)
{
    (void)state;
    fill(600);
    rows[599].probed_wrong = 1;
    assert_true(look(600).fires);
    assert_true(look(600).by_probe);
    fill(600);
    rows[500].probed_wrong = 1;
    assert_false(look(600).fires); /* it has paged then */
}

/* The load tester's own lateness is no fault of the service. */
static void test_late_seconds_leave_the_windows(void **state)
{
    (void)state;
    fill(600);
    make_bad(599, RATE);
    rows[599].lag_ms = 101;
    assert_false(look(600).fires);
    assert_false(look(600).silent);
    for (unsigned i = 540; i < 548; i++)
        rows[i].lag_ms = 500;
    make_bad(598, RATE);
    assert_true(look(600).silent); /* 9 of 60 */
}

static void test_counted_seconds_alone(void **state)
{
    (void)state;
    fill(600);
    make_bad(599, RATE);
    rows[599].trigger_shadow = true;
    assert_true(look(600).fires);
    assert_false(alert_look(rows, 600, 1, true).fires);
}

static void test_the_pace_shortens_the_windows(void **state)
{
    (void)state;
    assert_int_equal(account_window(60, 1), 60);
    assert_int_equal(account_window(60, 0.1), 6);
    assert_int_equal(account_window(10, 0.01), 1);
    fill(600);
    make_bad(590, RATE);
    assert_false(alert_look(rows, 600, 0.1, false).fires);
    make_bad(599, RATE);
    assert_true(alert_look(rows, 600, 0.1, false).fires);
}

/* ---- recovery ---------------------------------------------------------------------------------
 */

static const struct recovery_rules simple = {.pace = 1};
static const struct recovery_rules recurring = {.pace = 1, .recurs = true};

static void assert_found(struct recovery found, enum recovery_reason reason, unsigned at)
{
    if (found.reason != reason || found.at != at)
        fail_msg("reason %d at %u, expected %d at %u", found.reason, found.at, reason, at);
}

static void test_mitigated_is_the_first_of_thirty_good_seconds(void **state)
{
    (void)state;
    fill(200);
    make_bad(100, 1);
    assert_found(recovery_mitigated(rows, 130, 90, &simple), RECOVERY_TOO_SHORT, 130);
    assert_found(recovery_mitigated(rows, 131, 90, &simple), RECOVERY_HOLDS, 101);
    assert_found(recovery_mitigated(rows, 200, 60, &simple), RECOVERY_HOLDS, 60);
    assert_found(recovery_mitigated(rows, 101, 90, &simple), RECOVERY_BAD, 100);
}

static void test_a_shadow_does_not_count(void **state)
{
    (void)state;
    fill(200);
    make_bad(100, RATE);
    rows[100].deployment_shadow = true;
    assert_found(recovery_mitigated(rows, 120, 90, &simple), RECOVERY_TOO_SHORT, 120);
    assert_found(recovery_mitigated(rows, 121, 90, &simple), RECOVERY_HOLDS, 90);
    assert_found(recovery_mitigated(rows, 200, 100, &simple), RECOVERY_HOLDS, 101);
}

static void test_mitigated_wants_answers_in_time(void **state)
{
    (void)state;
    fill(200);
    for (unsigned i = 100; i < 107; i++)
        make_slow(i, 1); /* 7 of 600 */
    assert_found(recovery_mitigated(rows, 130, 100, &simple), RECOVERY_SLOW, 129);
    assert_found(recovery_mitigated(rows, 131, 100, &simple), RECOVERY_HOLDS, 101);
}

static void test_mitigated_at_a_quarter_of_the_load(void **state)
{
    (void)state;
    fill(200);
    for (unsigned i = 0; i < 200; i++)
        rows[i].share_percent = i < 100 ? 24 : 25;
    assert_found(recovery_mitigated(rows, 100, 0, &simple), RECOVERY_LOAD, 99);
    assert_found(recovery_mitigated(rows, 200, 0, &simple), RECOVERY_HOLDS, 100);
    assert_found(recovery_repaired(rows, 200, 100, &simple), RECOVERY_LOAD, 199);
    rows[199].final = false; /* the last second is not, as a rule: the one before it counts */
    assert_found(recovery_repaired(rows, 200, 100, &simple), RECOVERY_LOAD, 198);
}

static void test_a_trigger_must_have_come(void **state)
{
    (void)state;
    fill(200);
    assert_found(recovery_mitigated(rows, 150, 100, &recurring), RECOVERY_NO_TRIGGER, 150);
    rows[140].trigger_began = true;
    assert_found(recovery_mitigated(rows, 150, 100, &recurring), RECOVERY_HOLDS, 100);
    assert_found(recovery_repaired(rows, 190, 100, &recurring), RECOVERY_NO_TRIGGER, 190);
    rows[170].trigger_began = true;
    assert_found(recovery_repaired(rows, 190, 100, &recurring), RECOVERY_HOLDS, 100);
}

static void test_each_reason_against_a_repair(void **state)
{
    (void)state;
    fill(200);
    assert_found(recovery_repaired(rows, 159, 100, &simple), RECOVERY_TOO_SHORT, 159);
    assert_found(recovery_repaired(rows, 160, 100, &simple), RECOVERY_HOLDS, 100);
    rows[159].crashes = 1;
    assert_found(recovery_repaired(rows, 160, 100, &simple), RECOVERY_CRASH, 159);
    rows[159].crashes = 0;
    rows[159].leaked = 1;
    assert_found(recovery_repaired(rows, 160, 100, &simple), RECOVERY_LEAK, 159);
    rows[159].leaked = 0;
    rows[159].defect_covered = false;
    assert_found(recovery_repaired(rows, 160, 100, &simple), RECOVERY_OLDER, 159);
    assert_found(recovery_mitigated(rows, 160, 100, &simple), RECOVERY_HOLDS, 100);
    rows[159].known = false;
    assert_found(recovery_repaired(rows, 160, 100, &simple), RECOVERY_GAP, 159);
    fill(200);
    rows[159].final = false;
    assert_found(recovery_repaired(rows, 160, 100, &simple), RECOVERY_TOO_SHORT, 160);
}

/* ---- rows --------------------------------------------------------------------------------------
 */

static void test_a_row_of_the_load_testers(void **state)
{
    struct account_columns where;
    struct account_row row = {0};
    json_t *columns = json_pack("[ssssssssssssssss]", "demanded", "due", "ended", "right", "within",
                                "ok", "wrong", "timeout", "slow", "probed", "probed_wrong",
                                "attempts", "lag_max_ms", "p50_ms", "p99_ms", "later");
    json_t *numbers =
        json_pack("[iiiiiiiiiiiiffni]", 20, 18, 17, 15, 14, 9, 2, 3, 1, 1, 0, 25, 1.5, 63.0, 0);
    (void)state;
    assert_true(account_columns_read(columns, &where));
    assert_true(account_row_take(&row, numbers, &where));
    assert_int_equal(row.demanded, 20);
    assert_int_equal(account_row_bad(&row), 2);
    assert_int_equal(row.right_ended, 9);
    assert_int_equal(row.bad_ended, 5);
    assert_int_equal(row.attempts, 25);
    assert_true(row.lag_ms == 1.5 && row.p50_ms == 63 && isnan(row.p99_ms));
    json_array_remove(columns, 5);
    assert_false(account_columns_read(columns, &where));
    json_array_clear(numbers);
    assert_false(account_row_take(&row, numbers, &where));
    json_decref(columns);
    json_decref(numbers);
}

static void test_a_row_comes_back_from_the_record(void **state)
{
    struct account_row back;
    (void)state;
    fill(1);
    rows[0].p99_ms = NAN;
    rows[0].trigger_shadow = true;
    json_t *object = account_row_json(&rows[0]);
    assert_true(account_row_read(&back, object));
    assert_int_equal(back.due, RATE);
    assert_true(isnan(back.p99_ms) && back.p50_ms == 63 && back.trigger_shadow && !back.leaked);
    json_object_del(object, "due");
    assert_false(account_row_read(&back, object));
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_thresholds_for_answers),
        cmocka_unit_test(test_the_thresholds_for_latency),
        cmocka_unit_test(test_a_fire_that_has_passed_pages_no_more),
        cmocka_unit_test(test_windows_begin_with_the_load),
        cmocka_unit_test(test_a_wrong_probe_pages),
        cmocka_unit_test(test_late_seconds_leave_the_windows),
        cmocka_unit_test(test_counted_seconds_alone),
        cmocka_unit_test(test_the_pace_shortens_the_windows),
        cmocka_unit_test(test_mitigated_is_the_first_of_thirty_good_seconds),
        cmocka_unit_test(test_a_shadow_does_not_count),
        cmocka_unit_test(test_mitigated_wants_answers_in_time),
        cmocka_unit_test(test_mitigated_at_a_quarter_of_the_load),
        cmocka_unit_test(test_a_trigger_must_have_come),
        cmocka_unit_test(test_each_reason_against_a_repair),
        cmocka_unit_test(test_a_row_of_the_load_testers),
        cmocka_unit_test(test_a_row_comes_back_from_the_record),
    };
    return cmocka_run_group_tests_name("account", tests, NULL, NULL);
}
