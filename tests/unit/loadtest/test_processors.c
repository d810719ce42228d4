/* The busy time of this machine's processors, against a thread that keeps one of them busy. */
#include "loadtest/base/processors.h"

#include "common/clock.h"
#include "tests/support/support.h"

#include <time.h>
#include <unistd.h>

#define BUSY_S  0.3
#define TICKS_S 0.1 /* what the kernel's ticks may miss */

static double own_cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static void test_busy_time_is_all_that_programs_take_and_no_more_than_there_is(void **state)
{
    (void)state;
    double busy_s = processors_busy_s();
    int64_t began_ns = clock_now_ns();
    double until_s = own_cpu_s() + BUSY_S;
    while (own_cpu_s() < until_s)
        continue;
    busy_s = processors_busy_s() - busy_s;
    double elapsed_s = (double)(clock_now_ns() - began_ns) / (double)CLOCK_NS_PER_S;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    assert_true(busy_s > BUSY_S - TICKS_S);
    assert_true(busy_s < (double)online * (elapsed_s + TICKS_S));
}

static void test_there_is_a_processor(void **state)
{
    (void)state;
    assert_in_range(processors_count(), 1, sysconf(_SC_NPROCESSORS_CONF));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_busy_time_is_all_that_programs_take_and_no_more_than_there_is),
        cmocka_unit_test(test_there_is_a_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
