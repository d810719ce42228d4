#include "loadtest/judge/generator_check.h"

#include "tests/support/support.h"

#include <string.h>

static char said[1024];

static void note(void *argument, const char *sentence)
{
    (void)argument;
    strncat(said, sentence, sizeof said - strlen(said) - 1);
}

/* A run of 100 requests, each sent `lag_us` late, but the last one `last_lag_us` late. */
static struct load_stats *run_of(int64_t lag_us, int64_t last_lag_us, int64_t response_us)
{
    enum { REQUESTS = 100 };
    static struct load_stats stats;
    assert_true(load_stats_init(&stats, CLOCK_NS_PER_S));
    for (int i = 0; i < REQUESTS; i++) {
        histogram_record_us(&stats.lag, i + 1 < REQUESTS ? lag_us : last_lag_us);
        histogram_record_us(&stats.response_all, response_us);
    }
    said[0] = '\0';
    return &stats;
}

static bool is_valid(struct load_stats *stats)
{
    bool valid = generator_check(stats, note, NULL);
    load_stats_destroy(stats);
    assert_int_equal(valid, said[0] == '\0');
    return valid;
}

static void test_on_time(void **state)
{
    (void)state;
    assert_true(is_valid(run_of(100, 100, 5000)));
}

static void test_late_but_little_or_little_of_the_whole(void **state)
{
    (void)state;
    assert_true(is_valid(run_of(15000, 15000, 16000)));   /* less than 20 ms at the 99th */
    assert_true(is_valid(run_of(30000, 30000, 1000000))); /* 3 % of the response times */
    assert_true(is_valid(run_of(100, 150000, 160000)));   /* once, less than 200 ms */
}

static void test_late(void **state)
{
    (void)state;
    assert_false(is_valid(run_of(40000, 40000, 100000)));
    assert_non_null(strstr(said, "did not keep its schedule"));
    assert_false(is_valid(run_of(100, 300000, 400000))); /* once, and much of the slowest answer */
    assert_false(is_valid(run_of(100, 600000, 30000000))); /* beyond what any answer excuses */
}

/* 2 of 100 requests are refused at once, and stand at their timeout of 5 s. */
static void test_late_beside_requests_without_an_answer(void **state)
{
    static const struct {
        int64_t lag_us, right_us;
        bool is_valid;
    } cases[] = {{30000, 31000, false}, {30000, 1000000, true}, {15000, 16000, true}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct load_stats *stats = run_of(cases[i].lag_us, cases[i].lag_us, cases[i].right_us);
        histogram_record_us(&stats->response_all, 5000000);
        histogram_record_us(&stats->response_all, 5000000);
        for (int j = 0; j < 100; j++)
            histogram_record_us(&stats->response_ok, cases[i].right_us);
        assert_int_equal(is_valid(stats), cases[i].is_valid);
    }
}

static void test_out_of_means(void **state)
{
    static const struct {
        struct generator_stats generator;
        const char *said;
    } cases[] = {
        {{.busiest_share = 0.95}, "out of CPU: a thread used 95 % of a core"},
        {{.out_of_descriptors = 3}, "out of descriptors: 3 connects failed"},
        {{.out_of_ports = 7}, "out of ports: 7 connects failed"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct load_stats *stats = run_of(100, 100, 5000);
        stats->generator = cases[i].generator;
        assert_false(is_valid(stats));
        assert_non_null(strstr(said, cases[i].said));
    }
    struct load_stats *stats = run_of(100, 100, 5000);
    stats->generator = (struct generator_stats){.busiest_share = 0.89};
    assert_true(is_valid(stats));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_time),
        cmocka_unit_test(test_late_but_little_or_little_of_the_whole),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_late_beside_requests_without_an_answer),
        cmocka_unit_test(test_out_of_means),
    };
    return cmocka_run_group_tests_name("generator_check", tests, NULL, NULL);
}
