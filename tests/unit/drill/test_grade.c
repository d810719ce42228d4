/* The grade's lines, from records made by hand: what earns points and what does not, each with its
 * reason. */
#include "drill/report/grade.h"

#include "tests/support/support.h"

#include <math.h>

#define RATE 20

static struct account_row rows[ACCOUNT_SECONDS_MAX];
static struct replay replay;
static struct scenario_drill scenario;

static int make(void **state)
{
    (void)state;
    replay = (struct replay){.rows = rows, .row_count = 300, .lines = json_array()};
    for (int i = 0; i < REPLAY_TIMES; i++)
        replay.t_s[i] = NAN;
    replay.t_s[REPLAY_T0] = 100;
    replay.t_s[REPLAY_T1] = 110;
    for (unsigned i = 0; i < replay.row_count; i++)
        rows[i] = (struct account_row){.known = true,
                                       .demanded = RATE,
                                       .due = RATE,
                                       .ended = RATE,
                                       .right = i < 100 || i >= 200 ? RATE : 10};
    scenario = (struct scenario_drill){
        .claims = {CLAIM_QUERY_AN_ITEM, CLAIM_LARGER_REQUESTS, CLAIM_THE_LOAD},
        .effects = {[CHANGE_CODE_ONE_QUERY] = EFFECT_REPAIRS, [CHANGE_POOL_X10] = EFFECT_WORSE}};
    return 0;
}

static int forget(void **state)
{
    (void)state;
    json_decref(replay.lines);
    return 0;
}

static void enter(double at_s, const char *kind, json_t *fields)
{
    json_t *line = json_pack("{s:s, s:f}", "kind", kind, "at_s", at_s);
    json_object_update(line, fields);
    json_decref(fields);
    json_array_append_new(replay.lines, line);
}

static void decide(double at_s, const char *change)
{
    enter(at_s, "decided", json_pack("{s:s}", "change", change));
}

static void claim(const char *key)
{
    enter(150, "claim", json_pack("{s:s}", "claim", key));
}

static struct grade grade_with(double untouched_bad_share)
{
    scenario.untouched_bad_share = untouched_bad_share;
    return grade_drill(&replay, &scenario);
}

static double points(enum grade_name name, double untouched_bad_share)
{
    struct grade grade = grade_with(untouched_bad_share);
    const struct grade_line *line = &grade.lines[name];
    assert_true(line->why[0] != '\0');
    return line->applies ? line->points * line->fraction : -1;
}

static void assert_near(double value, double expected)
{
    if (fabs(value - expected) > 0.005)
        fail_msg("%f, expected %f", value, expected);
}

static void test_doing_nothing_earns_nothing(void **state)
{
    (void)state;
    struct grade grade = grade_with(0.5);
    assert_near(grade.points, 0);
    assert_near(grade.of, 100);
    grade = grade_with(NAN);
    assert_near(grade.of, 70); /* what is not measured leaves the denominator */
}

/* 90 s with half of the requests bad, of 190 since the page; untouched all would have been. */
static void test_users_spared(void **state)
{
    (void)state;
    assert_near(points(GRADE_SPARED, 0.5), 0);
    decide(150, "keep-evidence");
    assert_near(points(GRADE_SPARED, 0.5), 0);
    decide(150, "code-one-query");
    assert_near(points(GRADE_SPARED, 0.5), 30 * (1 - 900.0 / 1900));
    assert_near(points(GRADE_SPARED, 0.1), 0);
    assert_near(points(GRADE_SPARED, NAN), -1);
    for (unsigned i = 110; i < 200; i++)
        rows[i].trigger_shadow = true;
    assert_near(points(GRADE_SPARED, 0.5), 30);
    for (unsigned i = 200; i < 300; i++)
        rows[i].right = rows[i].due = rows[i].ended = 5; /* the rest is shed */
    assert_near(points(GRADE_SPARED, 1), 30 * (1 - 0.75 * 100 / 100));
}

static void test_repaired_less_for_what_was_in_vain(void **state)
{
    (void)state;
    decide(120, "code-one-query");
    assert_near(points(GRADE_REPAIRED, NAN), 0);
    replay.t_s[REPLAY_T4] = 200;
    assert_near(points(GRADE_REPAIRED, NAN), 25);
    decide(121, "restart");
    decide(122, "pool-x10");
    decide(123, "load-50"); /* no deployment */
    decide(250, "pool-x2"); /* after it */
    assert_near(points(GRADE_REPAIRED, NAN), 25 - 2 * 3);
    for (int i = 0; i < 20; i++)
        decide(130, "restart");
    assert_near(points(GRADE_REPAIRED, NAN), 0);
}

static void test_claims_and_wrong_claims(void **state)
{
    (void)state;
    claim("query-an-item");
    assert_near(points(GRADE_DIAGNOSIS, NAN), 10);
    claim("larger-requests");
    claim("the-load");
    assert_near(points(GRADE_DIAGNOSIS, NAN), 20);
    claim("retries");
    assert_near(points(GRADE_DIAGNOSIS, NAN), 15 - 3);
    claim("the-load");
    assert_near(points(GRADE_DIAGNOSIS, NAN), 20 - 3);
}

static void test_claiming_everything_earns_little(void **state)
{
    (void)state;
    for (enum claim each = 0; each < CLAIMS; each++)
        claim(claim_definitions[each].key);
    assert_near(points(GRADE_DIAGNOSIS, NAN), 0);
}

static void outcome(double expected, double came, int met)
{
    enter(160, "outcome",
          json_pack("{s:f, s:f, s:b}", "expected", expected, "outcome", came, "met", met));
}

static void test_method_is_how_near_expectations_came(void **state)
{
    (void)state;
    outcome(1, 0, 1);
    assert_near(points(GRADE_METHOD, NAN), 0); /* nothing was changed */
    decide(150, "restart");
    assert_near(points(GRADE_METHOD, NAN), 10);
    outcome(1, 50, 0);
    assert_near(points(GRADE_METHOD, NAN), 10 * (1 + 0.02) / 2);
    outcome(0, 0, 0);
    assert_near(points(GRADE_METHOD, NAN), 10 * (1 + 0.02 + 1) / 3);
}

static void test_command(void **state)
{
    (void)state;
    enter(115, "acknowledge", json_pack("{s:s}", "commander", ""));
    assert_near(points(GRADE_COMMAND, NAN), 0);
    enter(116, "acknowledge", json_pack("{s:i, s:s}", "severity", 2, "commander", "me"));
    assert_near(points(GRADE_COMMAND, NAN), 6);
    enter(170, "impact", json_pack("{s:i}", "percent", 45)); /* it is 50 */
    assert_near(points(GRADE_COMMAND, NAN), 11);
    enter(171, "said", json_object());
    assert_near(points(GRADE_COMMAND, NAN), 13);
    enter(172, "said", json_object());
    enter(173, "said", json_object());
    assert_near(points(GRADE_COMMAND, NAN), 15);
}

static void test_an_impact_that_is_far_off_or_late(void **state)
{
    (void)state;
    enter(170, "impact", json_pack("{s:i}", "percent", 30));
    enter(171, "impact", json_pack("{s:i}", "percent", 50)); /* not the first */
    assert_near(points(GRADE_COMMAND, NAN), 0);
    json_array_clear(replay.lines);
    enter(291, "impact", json_pack("{s:i}", "percent", 0));
    assert_near(points(GRADE_COMMAND, NAN), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_doing_nothing_earns_nothing, make, forget),
        cmocka_unit_test_setup_teardown(test_users_spared, make, forget),
        cmocka_unit_test_setup_teardown(test_repaired_less_for_what_was_in_vain, make, forget),
        cmocka_unit_test_setup_teardown(test_claims_and_wrong_claims, make, forget),
        cmocka_unit_test_setup_teardown(test_claiming_everything_earns_little, make, forget),
        cmocka_unit_test_setup_teardown(test_method_is_how_near_expectations_came, make, forget),
        cmocka_unit_test_setup_teardown(test_command, make, forget),
        cmocka_unit_test_setup_teardown(test_an_impact_that_is_far_off_or_late, make, forget),
    };
    return cmocka_run_group_tests_name("grade", tests, NULL, NULL);
}
