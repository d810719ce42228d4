/* The body of POST /v1/runs, checked against the options' table, and the list of targets. */
#include "loadtest/serve/run_request.h"

#include "loadtest/plan/target_list.h"
#include "tests/support/support.h"

#define URL "http://127.0.0.1:8080"

static char why[RUN_REQUEST_WHY_SIZE];

static int parse(struct run_request *request, const char *body)
{
    why[0] = '\0';
    return run_request_parse(request, body, strlen(body), URL, why) ? 0 : -1;
}

static void test_defaults_are_the_command_lines(void **state)
{
    (void)state;
    struct run_request request;
    /* the program's environment must not matter */
    setenv("FLASHOVER_RATE", "999", 1);
    setenv("FLASHOVER_URL", "http://elsewhere", 1);
    assert_int_equal(parse(&request, "{}"), 0);
    const struct load_options *options = &request.options;
    assert_string_equal(options->url, URL);
    assert_true(options->rate_per_s == 20 && options->duration_s == 10 && options->timeout_s == 5);
    assert_int_equal(options->max_in_flight, 2000);
    assert_int_equal(options->threads, 1);
    assert_int_equal(options->items, 300);
    assert_int_equal(options->slo.count, 0);
    assert_null(options->stages);
    assert_null(options->admin_url);
    assert_null(options->admin_token_file);
    assert_string_equal(options->arrivals, "constant");
    run_request_clear(&request);
    unsetenv("FLASHOVER_RATE");
    unsetenv("FLASHOVER_URL");
}

static void test_values(void **state)
{
    (void)state;
    struct run_request request;
    assert_int_equal(
        parse(&request, "{\"url\":\"http://h/\",\"rate\":0.1,\"duration\":\"2m\",\"timeout\":0.3,"
                        "\"slo\":[\"ok>1%\",\"p(99)<2\"],\"seed\":1e15,\"threads\":2.0,"
                        "\"max-in-flight\":\"7\",\"check\":\"status\",\"closed\":3}"),
        0);
    const struct load_options *options = &request.options;
    assert_string_equal(options->url, "http://h/");
    assert_true(options->rate_per_s == 0.1 && options->duration_s == 120);
    assert_true(options->timeout_s == 0.3);
    assert_int_equal(options->slo.count, 2);
    assert_string_equal(options->slo.values[1], "p(99)<2");
    assert_int_equal(options->seed, 1000000000000000);
    assert_int_equal(options->threads, 2);
    assert_int_equal(options->max_in_flight, 7);
    assert_int_equal(options->closed, 3);
    assert_string_equal(options->check, "status");
    run_request_clear(&request);
    assert_int_equal(parse(&request, "{\"slo\":\"ok>1%\"}"), 0);
    assert_int_equal(request.options.slo.count, 1);
    run_request_clear(&request);
    assert_int_equal(parse(&request, "{\"slo\":[]}"), 0);
    assert_int_equal(request.options.slo.count, 0);
    run_request_clear(&request);
}

static void test_mistakes_name_key_and_range(void **state)
{
    (void)state;
    static const struct {
        const char *body, *expected;
    } cases[] = {
        {"", "bad JSON"},
        {"{\"rate\":1}}", "bad JSON"},
        {"[]", "no JSON object"},
        {"{\"\":1}", "unknown key ''"},
        {"{\"Rate\":1}", "unknown key 'Rate' (url|rate|duration|"},
        {"{\"--rate\":1}", "unknown key '--rate'"},
        {"{\"rate\":1000001}", "rate: '1000001' is not in the range 0.01..1000000"},
        {"{\"rate\":\"1 \"}", "rate: '1' is not in the range"},
        {"{\"rate\":\"nan\"}", "rate: 'nan' is not in the range"},
        {"{\"rate\":\"\"}", "rate: '' is not in the range"},
        {"{\"rate\":false}", "rate: wants a number, in the range 0.01..1000000"},
        {"{\"duration\":null}", "duration: wants a number of seconds or a text like \"10s\""},
        {"{\"duration\":1e-300}", "duration: '1e-300' is not in the range 0.001..86400 s"},
        {"{\"seed\":-1}", "seed: '-1' is not in the range 0..1e+15"},
        {"{\"seed\":1e18}", "seed: '1e+18' is not in the range"},
        {"{\"seed\":9223372036854775807}", "seed: '9223372036854775807' is not in the range"},
        {"{\"retries\":0.5}", "retries: '0.5' is not in the range 0..20"},
        {"{\"closed\":[]}", "closed: wants a whole number, in the range 0..50000"},
        {"{\"check\":\"auto|feed\"}", "check: 'auto|feed' is not in the range auto|feed|status"},
        {"{\"url\":[\"http://h\"]}", "url: wants a text"},
        {"{\"slo\":{}}", "slo: wants a text or an array of texts"},
        {"{\"slo\":[[]]}", "slo: wants a text or an array of texts"},
        {"{\"admin-url\":\"http://h\"}", "admin-url: is an option of loadtest serve"},
        {"{\"admin-token-file\":null}", "admin-token-file: is an option of loadtest serve"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run_request request;
        assert_int_equal(parse(&request, cases[i].body), -1);
        if (!strstr(why, cases[i].expected))
            fail_msg("%s: '%s' is not '%s'", cases[i].body, why, cases[i].expected);
        run_request_clear(&request);
    }
}

static bool allows(const struct target_list *list, const char *url)
{
    struct target target;
    char reason[256];
    assert_true(target_parse(&target, url, reason, sizeof reason));
    return target_list_has(list, &target);
}

static void test_a_change_names_what_changes(void **state)
{
    (void)state;
    struct run_request request;
    struct load_change change;
    static const char body[] = "{\"rate\":40,\"items\":\"7\",\"retry-budget\":12.5,"
                               "\"arrivals\":\"poisson\"}";
    assert_true(run_request_parse_change(&request, &change, body, strlen(body), why));
    assert_true(change.has_rate && change.rate_per_s == 40);
    assert_true(change.has_items && change.items == 7);
    assert_true(change.has_retry_budget && change.retry_budget_percent == 12.5);
    assert_true(change.has_arrivals && change.arrivals == ARRIVALS_POISSON);
    assert_false(change.has_retries || change.has_seed);
    assert_null(change.stages);
    assert_null(change.allows);
    run_request_clear(&request);
}

static void test_targets_are_compared_as_written(void **state)
{
    (void)state;
    struct target_list list = {0};
    char text[128];
    assert_true(target_list_add(&list, "127.0.0.1:8080", text, sizeof text));
    assert_true(target_list_add(&list, "http://Service:81/v1/feeds/{feed}", text, sizeof text));
    assert_true(target_list_add(&list, "[::1]:8080", text, sizeof text));
    assert_true(target_list_add(&list, "web", text, sizeof text));
    target_list_describe(&list, text, sizeof text);
    assert_string_equal(text, "127.0.0.1:8080, Service:81, [::1]:8080, web:80");
    target_list_describe(&list, text, 10);
    assert_string_equal(text, "127.0.0.1");
    assert_true(allows(&list, "http://127.0.0.1:8080/any?path"));
    assert_true(allows(&list, "http://sERVICE:81"));
    assert_true(allows(&list, "http://[::1]:8080/"));
    assert_true(allows(&list, "http://web/"));
    assert_false(allows(&list, "http://localhost:8080/"));
    assert_false(allows(&list, "http://127.0.0.1/"));
    assert_false(allows(&list, "http://127.0.0.1.evil:8080/"));
    assert_false(allows(&list, "http://service:8081/"));
    assert_false(allows(&list, "http://service/:81"));
}

static void test_what_is_no_target(void **state)
{
    (void)state;
    static const char *const cases[] = {"",           ":80",   "host:",    "host:0",
                                        "host:65536", "a/b",   "host:80?", "user@host:1",
                                        "https://h/", "::1:80"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct target_list list = {0};
        char reason[256];
        if (target_list_add(&list, cases[i], reason, sizeof reason))
            fail_msg("'%s' is taken for a target", cases[i]);
        assert_int_equal(list.count, 0);
    }
    struct target_list full = {.count = OPTION_LIST_MAX};
    char reason[256];
    assert_false(target_list_add(&full, "h:1", reason, sizeof reason));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_the_command_lines),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_mistakes_name_key_and_range),
        cmocka_unit_test(test_a_change_names_what_changes),
        cmocka_unit_test(test_targets_are_compared_as_written),
        cmocka_unit_test(test_what_is_no_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
