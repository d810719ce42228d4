/* Capacity on paper, with one input changed at a time. tests/unit/loadtest/test_verdict.c has the
 * figures of the default pool. */
#include "loadtest/plan/prediction.h"

#include "tests/support/support.h"

#include <math.h>

#define assert_close(value, expected) assert_true(fabs((value) - (expected)) < 1e-9)

/* 10 connections, 4 items, 10 ms each: 5 queries a request. */
static struct prediction_input small(void)
{
    return (struct prediction_input){.pool_size = 10,
                                     .items = 4,
                                     .hold_s = 0.01,
                                     .request_timeout_s = 2,
                                     .rate_per_s = 100,
                                     .per_item = true};
}

static void test_per_item_costs_a_query_for_each_and_one_for_the_list(void **state)
{
    (void)state;
    struct prediction_input input = small();
    assert_close(prediction_compute(&input).capacity_per_s, 200);
    input.items = 9;
    assert_close(prediction_compute(&input).capacity_per_s, 100);
    input.pool_size = 20;
    assert_close(prediction_compute(&input).capacity_per_s, 200);
    input.hold_s = 0.02;
    assert_close(prediction_compute(&input).capacity_per_s, 100);
}

static void test_batched_costs_one_query_however_many_items(void **state)
{
    (void)state;
    struct prediction_input input = small();
    input.per_item = false;
    input.items = 300;
    assert_close(prediction_compute(&input).capacity_per_s, 1000);
    assert_close(prediction_compute(&input).alone_s, 0.01);
    input.items = (double)NAN; /* not needed */
    assert_close(prediction_compute(&input).capacity_per_s, 1000);
}

static void test_alone_a_request_goes_through_the_pool_in_rounds(void **state)
{
    (void)state;
    struct prediction_input input = small();
    static const struct {
        double items, rounds;
    } cases[] = {{0, 0}, {1, 1}, {10, 1}, {11, 2}, {20, 2}, {21, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        input.items = cases[i].items;
        assert_close(prediction_compute(&input).alone_s, 0.01 * (1 + cases[i].rounds));
    }
}

static void test_the_first_timeout_comes_sooner_the_more_is_offered(void **state)
{
    (void)state;
    struct prediction_input input = small();
    input.rate_per_s = 400; /* twice the capacity: the queue grows by 0.5 s each second */
    assert_close(prediction_compute(&input).first_timeout_s, 4);
    input.rate_per_s = 800;
    assert_close(prediction_compute(&input).first_timeout_s, 2 * 800 / 600.0);
    input.request_timeout_s = 1;
    assert_close(prediction_compute(&input).first_timeout_s, 800 / 600.0);
}

static void test_up_to_its_capacity_nothing_times_out(void **state)
{
    (void)state;
    struct prediction_input input = small();
    assert_true(isinf(prediction_compute(&input).first_timeout_s));
    input.rate_per_s = 200;
    assert_true(isinf(prediction_compute(&input).first_timeout_s));
    input.rate_per_s = 201;
    assert_close(prediction_compute(&input).first_timeout_s, 402);
}

static void test_processors_bind_by_the_time_that_a_request_takes_of_them(void **state)
{
    (void)state;
    struct prediction_input input = small();
    input.processors = 2;
    input.processor_s = 0.05;
    assert_close(prediction_compute(&input).by_processors_per_s, 40);
    input.pool_size = (double)NAN; /* not needed */
    assert_close(prediction_compute(&input).by_processors_per_s, 40);
    input.processor_s = (double)NAN;
    assert_true(isnan(prediction_compute(&input).by_processors_per_s));
}

static void test_what_the_input_lacks_is_not_made_up(void **state)
{
    (void)state;
    struct prediction_input input = small();
    input.items = (double)NAN;
    struct prediction prediction = prediction_compute(&input);
    assert_true(isnan(prediction.capacity_per_s) && isnan(prediction.alone_s) &&
                isnan(prediction.first_timeout_s));
    input = small();
    input.pool_size = (double)NAN;
    prediction = prediction_compute(&input);
    assert_true(isnan(prediction.capacity_per_s) && isnan(prediction.alone_s) &&
                isnan(prediction.first_timeout_s));
    input = small();
    input.rate_per_s = 400;
    input.request_timeout_s = (double)NAN;
    prediction = prediction_compute(&input);
    assert_close(prediction.capacity_per_s, 200);
    assert_close(prediction.alone_s, 0.02);
    assert_true(isnan(prediction.first_timeout_s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_per_item_costs_a_query_for_each_and_one_for_the_list),
        cmocka_unit_test(test_batched_costs_one_query_however_many_items),
        cmocka_unit_test(test_alone_a_request_goes_through_the_pool_in_rounds),
        cmocka_unit_test(test_the_first_timeout_comes_sooner_the_more_is_offered),
        cmocka_unit_test(test_up_to_its_capacity_nothing_times_out),
        cmocka_unit_test(test_processors_bind_by_the_time_that_a_request_takes_of_them),
        cmocka_unit_test(test_what_the_input_lacks_is_not_made_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
