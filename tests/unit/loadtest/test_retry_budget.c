#include "loadtest/engine/retry_budget.h"

#include "loadtest/plan/load_settings.h"
#include "tests/support/support.h"

static unsigned taken(struct retry_budget *budget, double percent, unsigned tries)
{
    unsigned count = 0;
    for (unsigned i = 0; i < tries; i++)
        count += retry_budget_take(budget, percent);
    return count;
}

static void test_each_request_adds_its_share_of_a_retry(void **state)
{
    (void)state;
    struct retry_budget budget = {0};
    assert_int_equal(taken(&budget, 10, 5), 0);
    for (int i = 0; i < 29; i++)
        retry_budget_add(&budget, 10);
    assert_int_equal(taken(&budget, 10, 100), 2);
    retry_budget_add(&budget, 10);
    assert_int_equal(taken(&budget, 10, 100), 1);
}

static void test_quiet_times_save_up_a_burst_and_no_more(void **state)
{
    (void)state;
    struct retry_budget budget = {0};
    for (int i = 0; i < 100000; i++)
        retry_budget_add(&budget, 150);
    assert_int_equal(taken(&budget, 150, 1000), RETRY_BUDGET_BURST);
}

static void test_without_a_limit_nothing_is_counted(void **state)
{
    (void)state;
    struct retry_budget budget = {0};
    assert_int_equal(taken(&budget, LOAD_RETRY_BUDGET_NONE, 1000), 1000);
    retry_budget_add(&budget, LOAD_RETRY_BUDGET_NONE);
    assert_int_equal(taken(&budget, 0, 10), 0);
}

struct taker {
    struct retry_budget *budget;
    unsigned taken;
};

static void *add_and_take(void *argument)
{
    struct taker *taker = argument;
    for (int i = 0; i < 10000; i++) {
        retry_budget_add(taker->budget, 50);
        taker->taken += retry_budget_take(taker->budget, 50);
    }
    return NULL;
}

static void test_threads_share_it(void **state)
{
    (void)state;
    struct retry_budget budget = {0};
    struct taker takers[2] = {{&budget, 0}, {&budget, 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK_PTHREAD(pthread_create(&threads[i], NULL, add_and_take, &takers[i]));
    for (int i = 0; i < 2; i++)
        CHECK_PTHREAD(pthread_join(threads[i], NULL));
    unsigned sum = takers[0].taken + takers[1].taken + taken(&budget, 50, 100);
    assert_in_range(sum, 10000 - RETRY_BUDGET_BURST, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_request_adds_its_share_of_a_retry),
        cmocka_unit_test(test_quiet_times_save_up_a_burst_and_no_more),
        cmocka_unit_test(test_without_a_limit_nothing_is_counted),
        cmocka_unit_test(test_threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
