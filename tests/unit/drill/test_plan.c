/* A drill's plan: the same seed gives the same one, times are in their ranges, and the guilty
 * version is among the deployments. */
#include "drill/engine/plan.h"

#include "tests/support/support.h"

static const struct house house = {.healthy_min_s = 120, .healthy_max_s = 240};

static struct scenario guilty_scenario(bool triggers)
{
    struct scenario scenario = {.has_drill = true};
    scenario.drill.toggle_count = 1;
    scenario.drill.summary = "guilty";
    scenario.drill.trigger_count = triggers;
    scenario.drill.every_min_s = 20;
    scenario.drill.every_max_s = 40;
    return scenario;
}

static void test_the_same_seed_gives_the_same_plan(void **state)
{
    struct scenario scenario = guilty_scenario(true);
    (void)state;
    struct plan first = plan_make(&house, &scenario, 7, 1, 0);
    struct plan second = plan_make(&house, &scenario, 7, 1, 0);
    struct plan other = plan_make(&house, &scenario, 8, 1, 0);
    assert_true(first.fault_s == second.fault_s && first.version == second.version);
    for (unsigned i = 0; i < PLAN_DEPLOYMENTS; i++) {
        assert_true(first.deployments[i].at_s == second.deployments[i].at_s);
        assert_string_equal(first.deployments[i].summary, second.deployments[i].summary);
    }
    assert_true(first.fault_s != other.fault_s);
}

static void test_times_are_in_their_ranges(void **state)
{
    struct scenario scenario = guilty_scenario(true);
    (void)state;
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct plan plan = plan_make(&house, &scenario, seed, 1, 0);
        unsigned guilty = 0;
        double before_s = 0;
        assert_true(plan.fault_s >= 120 && plan.fault_s <= 240);
        for (unsigned i = 0; i < PLAN_DEPLOYMENTS; i++) {
            const struct plan_deployment *deployment = &plan.deployments[i];
            assert_true(deployment->at_s > before_s && deployment->at_s <= plan.fault_s);
            assert_true(deployment->at_s >= plan.fault_s - 180);
            assert_int_equal(deployment->version, plan.version + 1 + i);
            before_s = deployment->at_s;
            guilty += deployment->guilty;
            assert_true(deployment->guilty == (strcmp(deployment->summary, "guilty") == 0));
        }
        assert_int_equal(guilty, 1);
        double gap_s = plan_trigger_gap_s(&plan, &scenario, (unsigned)seed);
        assert_true(gap_s >= 20 && gap_s <= 40);
    }
}

/* Where nothing else sets it off, the last deployment is the guilty one, and T0. */
static void test_a_deployment_that_is_the_trigger(void **state)
{
    struct scenario scenario = guilty_scenario(false);
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct plan plan = plan_make(&house, &scenario, seed, 1, 0);
        const struct plan_deployment *last = &plan.deployments[PLAN_DEPLOYMENTS - 1];
        assert_true(last->guilty && last->at_s == plan.fault_s);
    }
}

/* What people see before T0 does not tell the scenarios apart: summaries and numbers aside from the
 * guilty one's. */
static void test_no_version_is_guilty(void **state)
{
    struct scenario scenario = {.has_drill = true};
    struct scenario other = guilty_scenario(true);
    scenario.drill.at_fault_count = 1;
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct plan plan = plan_make(&house, &scenario, seed, 1, 0);
        struct plan same = plan_make(&house, &other, seed, 1, 0);
        assert_true(plan.fault_s == same.fault_s && plan.version == same.version);
        for (unsigned i = 0; i < PLAN_DEPLOYMENTS; i++) {
            assert_false(plan.deployments[i].guilty);
            assert_true(plan.deployments[i].at_s == same.deployments[i].at_s);
        }
    }
}

static void test_the_facilitator_may_say_how_long_all_is_well(void **state)
{
    struct scenario scenario = guilty_scenario(true);
    (void)state;
    struct plan plan = plan_make(&house, &scenario, 3, 1, 10);
    assert_true(plan.fault_s == 10);
    assert_true(plan.deployments[0].at_s > 0 && plan.deployments[PLAN_DEPLOYMENTS - 1].at_s == 10);
}

static void test_the_pace_scales_peoples_times_only(void **state)
{
    struct scenario scenario = guilty_scenario(true);
    (void)state;
    struct plan slow = plan_make(&house, &scenario, 3, 1, 0);
    struct plan fast = plan_make(&house, &scenario, 3, 0.1, 0);
    assert_true(fast.fault_s > slow.fault_s * 0.0999 && fast.fault_s < slow.fault_s * 0.1001);
    assert_true(plan_trigger_gap_s(&fast, &scenario, 0) == plan_trigger_gap_s(&slow, &scenario, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_seed_gives_the_same_plan),
        cmocka_unit_test(test_times_are_in_their_ranges),
        cmocka_unit_test(test_a_deployment_that_is_the_trigger),
        cmocka_unit_test(test_no_version_is_guilty),
        cmocka_unit_test(test_the_facilitator_may_say_how_long_all_is_well),
        cmocka_unit_test(test_the_pace_scales_peoples_times_only),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
