/* The search for the boundary, over services that are a function of the rate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "loadtest/capacity_search.h"

struct service {
    double capacity_per_s;
    double long_capacity_per_s; /* in the longer confirmation; 0: the same */
    unsigned noise;             /* every so many trials one fails, or passes, by chance; 0: none */
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
    const struct capacity_plan plan = {.start_per_s = 4,
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
    assert_int_equal(service.trials, 2); /* two of three */
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
    for (unsigned noise = 7; noise < 40; noise++) { /* more than that may win a vote */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds_enclose_the_capacity),
        cmocka_unit_test(test_not_even_the_start),
        cmocka_unit_test(test_more_than_it_may_try),
        cmocka_unit_test(test_one_trial_by_chance_does_not_decide),
        cmocka_unit_test(test_a_confirmation_that_fails_lowers_the_bound),
        cmocka_unit_test(test_aborted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
