/* The search for the capacity, over services that are a function of the rate; and how a run counts
 * as a trial. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "loadtest/capacity/capacity.h"
#include "loadtest/capacity/trial.h"

struct service {
    double capacity_per_s;
    double long_capacity_per_s; /* in the longer confirmation; 0: the same */
    unsigned noise;             /* every so many trials one has the wrong result; 0: none */
    unsigned abort_at;          /* 0: never */
    unsigned trials;
    unsigned confirmations;
    double largest_per_s;
};

static enum capacity_trial_end trial(void *argument, double rate_per_s, enum capacity_phase phase)
{
    struct service *service = argument;
    double capacity_per_s = service->capacity_per_s;
    service->trials++;
    service->largest_per_s = fmax(service->largest_per_s, rate_per_s);
    if (service->trials == service->abort_at)
        return CAPACITY_ABORTED;
    if (phase == CAPACITY_CONFIRMATION) {
        service->confirmations++;
        if (service->long_capacity_per_s > 0)
            capacity_per_s = service->long_capacity_per_s;
    }
    bool passed = rate_per_s <= capacity_per_s;
    if (service->noise && service->trials % service->noise == 0)
        passed = !passed;
    if (passed)
        return CAPACITY_PASSED;
    return rate_per_s < 1.1 * capacity_per_s ? CAPACITY_FAILED_NARROWLY : CAPACITY_FAILED;
}

static bool search(struct service *service, struct capacity_bounds *bounds)
{
    const struct capacity_search_plan plan = {.start_per_s = 4,
                                              .max_per_s = 10000,
                                              .precision = 0.05,
                                              .trial = trial,
                                              .argument = service};
    return capacity_search(&plan, bounds);
}

static void test_bounds_enclose_the_capacity(void **state)
{
    (void)state;
    double capacity = 4.1;
    for (int i = 0; i < 24; i++, capacity *= 1.37) {
        struct service service = {.capacity_per_s = capacity};
        struct capacity_bounds bounds;
        assert_true(search(&service, &bounds));
        assert_true(bounds.lower_per_s <= capacity && capacity < bounds.upper_per_s);
        assert_true(bounds.upper_per_s <= bounds.lower_per_s * 1.05);
        assert_int_equal(service.confirmations, 1);
        assert_in_range(service.trials, 1, 28);
    }
}

static void test_not_even_the_start(void **state)
{
    (void)state;
    struct service service = {.capacity_per_s = 3};
    struct capacity_bounds bounds;
    assert_true(search(&service, &bounds));
    assert_true(bounds.lower_per_s == 0 && bounds.upper_per_s == 4);
    assert_int_equal(service.trials, 2); /* best of three */
}

static void test_more_than_it_may_try(void **state)
{
    (void)state;
    struct service service = {.capacity_per_s = 1e6};
    struct capacity_bounds bounds;
    assert_true(search(&service, &bounds));
    assert_true(bounds.lower_per_s == 10000 && isinf(bounds.upper_per_s));
    assert_true(service.largest_per_s == 10000);
}

static void test_one_trial_by_chance_does_not_decide(void **state)
{
    (void)state;
    for (unsigned noise = 7; noise < 40; noise++) { /* more noise may win a vote */
        struct service service = {.capacity_per_s = 100, .noise = noise};
        struct capacity_bounds bounds;
        assert_true(search(&service, &bounds));
        assert_true(bounds.lower_per_s > 100 / 1.06 && bounds.lower_per_s < 100 * 1.06);
    }
}

static void test_a_confirmation_that_fails_lowers_the_bound(void **state)
{
    (void)state;
    struct service service = {.capacity_per_s = 100, .long_capacity_per_s = 80};
    struct capacity_bounds bounds;
    assert_true(search(&service, &bounds));
    assert_true(bounds.lower_per_s <= 80 && bounds.lower_per_s > 80 / 1.06);
}

static void test_aborted(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 12; at++) {
        struct service service = {.capacity_per_s = 100, .abort_at = at};
        struct capacity_bounds bounds;
        assert_false(search(&service, &bounds));
        assert_int_equal(service.trials, at);
        assert_true(bounds.lower_per_s <= 100);
    }
}

/* A run whose answers take took_ms(at_ms); -1: refused. */
struct trial_run {
    struct test_plan plan;
    struct load_result result;
};

static struct trial_run *run_of(const char *stages, int (*took_ms)(int at_ms))
{
    struct trial_run *run = calloc(1, sizeof *run);
    struct load_stats *stats = malloc(sizeof *stats);
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    char why[256];
    run->plan.load.timeout_ns = CLOCK_NS_PER_S;
    assert_true(schedule_parse(&run->plan.load.schedule, stages, 1, why, sizeof why));
    assert_true(slo_parse(&run->plan.slos, CAPACITY_SLO, why, sizeof why));
    assert_true(load_stats_init(stats, load_settings_span_ns(&run->plan.load)));
    schedule_cursor_init(&cursor, &run->plan.load.schedule, 0, 1);
    while (schedule_next(&cursor, &arrival)) {
        int ms = took_ms((int)(arrival.at_ns / CLOCK_NS_PER_MS));
        struct request_end end = {.outcome = ms < 0 ? OUTCOME_CONNECT_ERROR : OUTCOME_OK,
                                  .intended_ns = arrival.at_ns + 1,
                                  .sent_ns = arrival.at_ns + 1,
                                  .first_byte_ns = arrival.at_ns + 1,
                                  .at_ns = arrival.at_ns + 1 + (ms < 0 ? 0 : ms) * CLOCK_NS_PER_MS,
                                  .timeout_ns = CLOCK_NS_PER_S};
        stats->ledger.scheduled++;
        stats->timeline.slots[timeline_slot_at(&stats->timeline, arrival.at_ns)].scheduled++;
        load_stats_end(stats, &end);
        if (end.at_ns > run->result.elapsed_ns)
            run->result.elapsed_ns = end.at_ns;
    }
    run->result.stats = stats;
    run->result.balanced = true;
    return run;
}

static struct capacity_trial trial_of(const char *stages, int (*took_ms)(int at_ms),
                                      enum capacity_phase phase)
{
    struct trial_run *run = run_of(stages, took_ms);
    struct capacity_trial taken = {.phase = phase, .rate_per_s = 100};
    capacity_trial_take(&taken, &run->plan, &run->result);
    load_result_free(&run->result);
    free(run);
    return taken;
}

static int always_20(int at_ms)
{
    (void)at_ms;
    return 20;
}

/* A queue that grows by 35 ms a second: within the SLO, but not for long. */
static int growing(int at_ms)
{
    return at_ms * 35 / 1000;
}

static int refused_for_a_while(int at_ms)
{
    return at_ms >= 2000 && at_ms < 2100 ? -1 : 20;
}

/* An overload of 5 s. Its backlog is gone 2 s later. */
static int overloaded(int at_ms)
{
    if (at_ms < 5000)
        return 20 + at_ms / 10;
    return at_ms < 7000 ? 520 - (at_ms - 5000) / 4 : 20;
}

static int never_recovers(int at_ms)
{
    (void)at_ms;
    return 600;
}

static void test_what_a_run_means(void **state)
{
    (void)state;
    struct capacity_trial taken = trial_of("100/10s", always_20, CAPACITY_DOUBLING);
    assert_true(taken.passed);
    assert_true(taken.goodput_per_s > 98 && taken.goodput_per_s < 102);
    assert_true(taken.p99_ms > 19 && taken.p99_ms < 21);
    taken = trial_of("100/5s", refused_for_a_while, CAPACITY_DOUBLING);
    assert_false(taken.passed);
    assert_non_null(strstr(taken.reason, "ok>=99.9%"));
    assert_true(taken.p99_is_at_least); /* ten of 500 have no answer */
    taken = trial_of("100/5s", growing, CAPACITY_DOUBLING);
    assert_true(taken.passed); /* 175 ms at its end, about ten more under way */
}

static void test_requests_that_pile_up(void **state)
{
    (void)state;
    struct trial_run *run = run_of("1000/5s", growing);
    struct capacity_trial taken = {.phase = CAPACITY_DOUBLING, .rate_per_s = 1000};
    run->plan.slos.count = 0;          /* no threshold decides */
    for (unsigned i = 15; i < 20; i++) /* the last quarter is still under way */
        run->result.stats->timeline.slots[i].outcomes[OUTCOME_OK] = 100;
    capacity_trial_take(&taken, &run->plan, &run->result);
    assert_false(taken.passed);
    assert_string_equal(taken.reason, "requests pile up");
    load_result_free(&run->result);
    free(run);
}

static void test_recovery(void **state)
{
    (void)state;
    struct capacity_trial taken = trial_of("100/5s,50/10s", overloaded, CAPACITY_OVERLOAD);
    assert_false(taken.recovery_is_at_least);
    /* requests until 6.28 s take more than 200 ms, and the last of them ends 200 ms later */
    assert_true(taken.recovery_s >= 1.25 && taken.recovery_s <= 1.75);
    taken = trial_of("100/5s,50/10s", never_recovers, CAPACITY_OVERLOAD);
    assert_true(taken.recovery_is_at_least && taken.recovery_s >= 10);
    taken = trial_of("100/5s,50/10s", always_20, CAPACITY_OVERLOAD);
    assert_true(taken.recovery_s == 0 && taken.passed);
}

/* Of four trials the last one got through less than half; whose fault was that? */
static void test_collapse_is_the_service_s_and_not_the_load_tester_s(void **state)
{
    static struct capacity capacity;
    (void)state;
    for (int invalid = 0; invalid < 2; invalid++) {
        capacity = (struct capacity){.trial_count = 4, .sustainable = {100, 105}};
        capacity.trials[0] = (struct capacity_trial){
            .rate_per_s = 100, .goodput_per_s = 100, .passed = true, .hold_s = 0.005};
        capacity.trials[1] = (struct capacity_trial){
            .phase = CAPACITY_OVERLOAD, .rate_per_s = 120, .goodput_per_s = 80};
        capacity.trials[2] = (struct capacity_trial){
            .phase = CAPACITY_OVERLOAD, .rate_per_s = 150, .goodput_per_s = 60};
        capacity.trials[3] = (struct capacity_trial){.phase = CAPACITY_OVERLOAD,
                                                     .rate_per_s = 200,
                                                     .goodput_per_s = 30,
                                                     .invalid = invalid != 0};
        capacity_sum_up(&capacity);
        assert_true(capacity.saturation_per_s == 100 && capacity.hold_s == 0.005);
        if (invalid)
            assert_true(isnan(capacity.collapse_per_s));
        else
            assert_true(capacity.collapse_per_s == 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds_enclose_the_capacity),
        cmocka_unit_test(test_not_even_the_start),
        cmocka_unit_test(test_more_than_it_may_try),
        cmocka_unit_test(test_one_trial_by_chance_does_not_decide),
        cmocka_unit_test(test_a_confirmation_that_fails_lowers_the_bound),
        cmocka_unit_test(test_aborted),
        cmocka_unit_test(test_what_a_run_means),
        cmocka_unit_test(test_requests_that_pile_up),
        cmocka_unit_test(test_recovery),
        cmocka_unit_test(test_collapse_is_the_service_s_and_not_the_load_tester_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
