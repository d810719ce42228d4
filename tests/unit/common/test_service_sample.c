/* The service's /metrics as one struct: malformed lines, labels that only look alike, missing
 * series. tests/unit/loadtest/test_verdict.c reads a whole page. */
#include "common/client/service_sample.h"

#include "tests/support/support.h"

#include <math.h>
#include <stdbool.h>

static struct service_sample parse(const char *page)
{
    struct service_sample sample;
    service_sample_parse(&sample, page);
    return sample;
}

static double items_of(const char *line)
{
    return parse(line).items;
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        double expected;
    } cases[] = {
        {"flashover_config_items 300", 300},
        {"flashover_config_items 0.5\n", 0.5},
        {"flashover_config_items 3e2\n", 300},
        {"flashover_config_items   7", 7},
        {"flashover_config_items -1\n", -1},
        {"flashover_config_items 4 1700000000000\n", 4}, /* with a timestamp */
        {"flashover_config_items{} 5\n", 5},
        {"flashover_config_items{a=\"} 1\"} 6\n", 6},
        {"flashover_config_items{a=\"b\"} 8 17\n", 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (items_of(cases[i].line) != cases[i].expected)
            fail_msg("%s is %g", cases[i].line, items_of(cases[i].line));
    assert_true(isinf(items_of("flashover_config_items +Inf\n")));
}

static void test_lines_that_are_none_are_passed_over(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "# flashover_config_items 1",        "flashover_config_items",
        "flashover_config_items ",           "flashover_config_items x",
        "flashover_config_items{a=\"b\" 1",  "flashover_config_items{a=\"b\"}",
        "flashover_config_items{a=\"b\"} x", "flashover_config_items_more 1",
        "flashover_config_item 1",           " flashover_config_items 1",
        "{flashover_config_items} 1",        "flashover_config_items\t1",
    };
    char page[256];
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (!isnan(items_of(lines[i])))
            fail_msg("'%s' is taken for a line", lines[i]);
        snprintf(page, sizeof page, "%s\n\nflashover_config_items 9", lines[i]); /* next counts */
        assert_true(items_of(page) == 9);
    }
}

static void test_lines_without_end_are_passed_over(void **state)
{
    (void)state;
    static char page[4096];
    snprintf(page, sizeof page, "flashover_config_items{a=\"%0*d\"} 1\n", 480, 0);
    assert_true(items_of(page) == 1);
    int used = snprintf(page, sizeof page, "flashover_config_items{a=\"%0*d\"} 1\n", 600, 0);
    snprintf(page + used, sizeof page - (size_t)used, "flashover_config_items 2\n");
    assert_true(items_of(page) == 2);
    used = snprintf(page, sizeof page, "flashover_config_items %0*d\n", 1200, 1);
    snprintf(page + used, sizeof page - (size_t)used, "flashover_config_items 3\n");
    assert_true(items_of(page) == 3);
    used = snprintf(page, sizeof page, "%0*d 1\n", 200, 0); /* a name of 200 characters */
    snprintf(page + used, sizeof page - (size_t)used, "flashover_config_items 4\n");
    assert_true(items_of(page) == 4);
}

static void test_series_of_a_name_are_added(void **state)
{
    (void)state;
    assert_true(items_of("flashover_config_items{a=\"1\"} 1\nx 5\nflashover_config_items 2") == 3);
}

static void test_a_label_is_taken_whole(void **state)
{
    (void)state;
    static const struct {
        const char *labels;
        bool is_used;
    } cases[] = {
        {"state=\"used\"", true},
        {"state=\"used\",", true},
        {"a=\"b\",state=\"used\",c=\"d\"", true},
        {"a=\"b\", state=\"used\"", true},
        {"xstate=\"used\"", false},
        {"xstate=\"used\",state=\"used\"", true},
        {"state=\"used\"x", false},
        {"state=\"unused\"", false},
        {"state=\"Used\"", false},
        {"state=used", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char page[128];
        snprintf(page, sizeof page, "db_client_connection_count{%s} 3\n", cases[i].labels);
        if ((parse(page).pool_used == 3) != cases[i].is_used)
            fail_msg("{%s} is %s", cases[i].labels, cases[i].is_used ? "passed over" : "taken");
        assert_true(isnan(parse(page).pool_idle));
    }
}

static void test_threads_by_what_they_do(void **state)
{
    (void)state;
    char page[1024] = "flashover_threads{state=\"some new one\"} 1000\n";
    for (size_t i = 0; i < THREAD_KIND_COUNT; i++) {
        size_t used = strlen(page);
        snprintf(page + used, sizeof page - used, "flashover_threads{state=\"%s\"} %d\n",
                 service_sample_thread_state((enum thread_kind)i), 1 << i);
    }
    struct service_sample sample = parse(page);
    for (size_t i = 0; i < THREAD_KIND_COUNT; i++)
        assert_true(sample.threads_by_state[i] == 1 << i);
    assert_true(sample.threads == 1000 + (1 << THREAD_KIND_COUNT) - 1);
}

static void test_item_failures_by_message(void **state)
{
    (void)state;
    struct service_sample sample =
        parse("flashover_item_failures_total{message=\"read_deadline\",pool=\"a\"} 3\n"
              "flashover_item_failures_total{pool=\"b\",message=\"read_deadline\"} 4\n"
              "flashover_item_failures_total{message=\"never heard of\"} 5\n"
              "flashover_item_failures_total 6\n");
    assert_true(sample.item_failures[ITEM_FAILURE_READ_DEADLINE] == 7);
    assert_true(sample.item_failures[ITEM_FAILURE_OTHER] == 11);
    assert_true(isnan(sample.item_failures[ITEM_FAILURE_CHECKOUT_TIMEOUT]));
    assert_true(isnan(sample.item_failures[ITEM_FAILURE_WRITE_DEADLINE]));
}

static void test_a_page_without_ours_has_no_figure(void **state)
{
    (void)state;
    static const char *const pages[] = {"", "\n\n", "<html>404</html>", "go_goroutines 7\n"};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        struct service_sample sample = parse(pages[i]);
        assert_true(isnan(sample.start_time_s) && isnan(sample.pool_used) &&
                    isnan(sample.pool_pending) && isnan(sample.timeouts) && isnan(sample.threads) &&
                    isnan(sample.backends) && isnan(sample.query_latency_s) &&
                    isnan(sample.item_failures[ITEM_FAILURE_OTHER]) &&
                    isnan(sample.threads_by_state[THREAD_KIND_WAITGROUP_WAIT]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_lines_that_are_none_are_passed_over),
        cmocka_unit_test(test_lines_without_end_are_passed_over),
        cmocka_unit_test(test_series_of_a_name_are_added),
        cmocka_unit_test(test_a_label_is_taken_whole),
        cmocka_unit_test(test_threads_by_what_they_do),
        cmocka_unit_test(test_item_failures_by_message),
        cmocka_unit_test(test_a_page_without_ours_has_no_figure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
