/* The service's own metrics: families, types, labels, and counts of what was observed. */
#include "service/http/service_metrics.h"

#include "tests/support/support.h"

#include <sys/resource.h>
#include <unistd.h>

#define DURATION "http_server_request_duration_seconds"
#define FEED     "http_route=\"/v1/feeds/{feed_id}\",http_response_status_code="
/* of the contract */
enum { STATUSES = 10 };
#define OTHER "http_route=\"other\",http_response_status_code="

/* The metrics in text form; the caller clears it. */
static struct text print(const struct service_metrics *metrics)
{
    struct text out = {0};
    service_metrics_write(metrics, &out);
    assert_false(out.failed);
    return out;
}

static unsigned count_of(const struct text *out, const char *part)
{
    unsigned count = 0;
    for (const char *at = out->data; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

/* True if `line` is one whole line of the text. */
static bool has_line(const struct text *out, const char *line)
{
    size_t size = strlen(line);
    for (const char *at = out->data; (at = strstr(at, line)); at++)
        if ((at == out->data || at[-1] == '\n') && at[size] == '\n')
            return true;
    return false;
}

static void assert_line(const struct text *out, const char *line)
{
    if (!has_line(out, line))
        fail_msg("no line '%s' in:\n%s", line, out->data);
}

static void test_every_family_has_its_type(void **state)
{
    static struct service_metrics metrics;
    (void)state;
    struct text out = print(&metrics);
    assert_line(&out, "# TYPE " DURATION " histogram");
    assert_line(&out, "# TYPE flashover_request_failures_total counter");
    assert_line(&out, "# TYPE flashover_item_failures_total counter");
    assert_int_equal(count_of(&out, "# TYPE "), 3);
    assert_int_equal(count_of(&out, "# HELP "), 3);
    text_clear(&out);
}

/* What never happened has a series at 0, so that its rate includes the first time: each status of a
 * feed, each failure. The other routes' statuses, which no rule uses, have none. */
static void test_what_never_happened(void **state)
{
    static struct service_metrics metrics;
    (void)state;
    struct text out = print(&metrics);
    assert_int_equal(count_of(&out, DURATION "_count"), STATUSES);
    assert_line(&out, DURATION "_count{" FEED "\"503\"} 0");
    assert_line(&out, DURATION "_bucket{" FEED "\"200\",le=\"0.2\"} 0");
    for (enum failure_kind kind = FAILURE_NONE + 1; kind < FAILURE_KINDS; kind++) {
        char line[128];
        snprintf(line, sizeof line, "flashover_request_failures_total{message=\"%s\"} 0",
                 failure_name(kind));
        assert_line(&out, line);
        snprintf(line, sizeof line, "flashover_item_failures_total{message=\"%s\"} 0",
                 failure_name(kind));
        assert_line(&out, line);
    }
    assert_int_equal(count_of(&out, "message=\"none\""), 0);
    text_clear(&out);
}

static void test_requests_are_counted_by_route_and_status(void **state)
{
    static struct service_metrics metrics;
    (void)state;
    service_metrics_observe(&metrics, true, 200, 6 * CLOCK_NS_PER_MS);
    service_metrics_observe(&metrics, true, 200, 250 * CLOCK_NS_PER_MS);
    service_metrics_observe(&metrics, true, 503, CLOCK_NS_PER_S);
    service_metrics_observe(&metrics, false, 200, CLOCK_NS_PER_MS);
    struct text out = print(&metrics);
    assert_line(&out, DURATION "_count{" FEED "\"200\"} 2");
    assert_line(&out, DURATION "_sum{" FEED "\"200\"} 0.256000000");
    assert_line(&out, DURATION "_bucket{" FEED "\"200\",le=\"0.005\"} 0");
    assert_line(&out, DURATION "_bucket{" FEED "\"200\",le=\"0.0075\"} 1");
    assert_line(&out, DURATION "_bucket{" FEED "\"200\",le=\"0.25\"} 2");
    assert_line(&out, DURATION "_bucket{" FEED "\"200\",le=\"+Inf\"} 2");
    assert_line(&out, DURATION "_count{" FEED "\"503\"} 1");
    assert_line(&out, DURATION "_count{" OTHER "\"200\"} 1");
    assert_int_equal(count_of(&out, DURATION "_count"), STATUSES + 1);
    text_clear(&out);
}

static void test_each_status_of_the_contract_is_its_own(void **state)
{
    static const int contract[] = {200, 400, 401, 404, 405, 413, 500, 502, 503, 504};
    enum { COUNT = sizeof contract / sizeof contract[0] };
    static struct service_metrics metrics;
    (void)state;
    for (unsigned i = 0; i < COUNT; i++)
        for (unsigned times = 0; times <= i; times++)
            service_metrics_observe(&metrics, true, contract[i], CLOCK_NS_PER_MS);
    struct text out = print(&metrics);
    for (unsigned i = 0; i < COUNT; i++) {
        char line[160];
        snprintf(line, sizeof line, DURATION "_count{" FEED "\"%d\"} %u", contract[i], i + 1);
        assert_line(&out, line);
    }
    assert_int_equal(COUNT, STATUSES);
    assert_int_equal(count_of(&out, DURATION "_count"), COUNT);
    text_clear(&out);
}

/* Thus no caller can create new series. */
static void test_any_other_status_is_one_series(void **state)
{
    static struct service_metrics metrics;
    (void)state;
    service_metrics_observe(&metrics, false, 201, CLOCK_NS_PER_MS);
    service_metrics_observe(&metrics, false, 418, CLOCK_NS_PER_MS);
    service_metrics_observe(&metrics, false, 0, CLOCK_NS_PER_MS);
    struct text out = print(&metrics);
    assert_line(&out, DURATION "_count{" OTHER "\"other\"} 3");
    assert_int_equal(count_of(&out, DURATION "_count"), STATUSES + 1);
    text_clear(&out);
}

static void test_failures_of_requests_and_items_are_two(void **state)
{
    static struct service_metrics metrics;
    (void)state;
    atomic_store(&metrics.request_failures[FAILURE_CHECKOUT_TIMEOUT], 3);
    atomic_store(&metrics.item_failures[FAILURE_CHECKOUT_TIMEOUT], 900);
    atomic_store(&metrics.item_failures[FAILURE_CALLED_OFF], 5);
    struct text out = print(&metrics);
    assert_line(&out, "flashover_request_failures_total{message=\"checkout_timeout\"} 3");
    assert_line(&out, "flashover_item_failures_total{message=\"checkout_timeout\"} 900");
    assert_line(&out, "flashover_item_failures_total{message=\"called_off\"} 5");
    assert_line(&out, "flashover_request_failures_total{message=\"called_off\"} 0");
    text_clear(&out);
}

/* A name is a label's value: each exists, each is different, and none needs an escape. */
static void test_failures_have_names_of_their_own(void **state)
{
    (void)state;
    for (enum failure_kind kind = FAILURE_NONE; kind < FAILURE_KINDS; kind++) {
        const char *name = failure_name(kind);
        assert_non_null(name);
        assert_true(*name && strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name));
        for (enum failure_kind other = FAILURE_NONE; other < kind; other++)
            assert_string_not_equal(name, failure_name(other));
    }
}

static void test_a_failure_is_set_whole(void **state)
{
    char longer[2 * FAILURE_MESSAGE_SIZE];
    struct failure failure = {.kind = FAILURE_LIMIT, .sqlstate = "53300", .message = "before"};
    (void)state;
    assert_false(failure_set(&failure, FAILURE_DATABASE, "%s, %d of %d", "row", 1, 2));
    assert_int_equal(failure.kind, FAILURE_DATABASE);
    assert_string_equal(failure.message, "row, 1 of 2");
    assert_string_equal(failure.sqlstate, ""); /* it belonged to the former failure */
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    (void)failure_set(&failure, FAILURE_LIMIT, "%s", longer);
    assert_int_equal(strlen(failure.message), FAILURE_MESSAGE_SIZE - 1);
    (void)failure_set(&failure, FAILURE_LIMIT, "%s", "%s%n"); /* outside text is not a format */
    assert_string_equal(failure.message, "%s%n");
}

/* ---- the process ------------------------------------------------------------------------------
 */

static double value_of(const struct text *out, const char *name)
{
    char start[64];
    snprintf(start, sizeof start, "\n%s ", name);
    const char *at = strstr(out->data, start);
    assert_non_null(at);
    return strtod(at + strlen(start), NULL);
}

static void test_the_process_is_told_as_it_is(void **state)
{
    const double memory_bytes = 64 << 20;
    struct text before = {0};
    struct text after = {0};
    struct rusage usage;
    (void)state;
    service_metrics_write_process(1770000000.25, &before);
    assert_line(&before, "process_start_time_seconds 1770000000.250");
    assert_line(&before, "# TYPE process_start_time_seconds gauge");
    assert_line(&before, "# TYPE process_cpu_seconds_total counter");
    assert_line(&before, "# TYPE process_resident_memory_bytes gauge");
    char *memory = malloc((size_t)memory_bytes);
    assert_non_null(memory);
    memset(memory, 1, (size_t)memory_bytes);
    double cpu_s = value_of(&before, "process_cpu_seconds_total");
    do
        getrusage(RUSAGE_SELF, &usage);
    while ((double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec < cpu_s + 0.01);
    service_metrics_write_process(1770000000.25, &after);
    assert_true(value_of(&after, "process_cpu_seconds_total") >= cpu_s + 0.01);
    assert_true(value_of(&after, "process_cpu_seconds_total") < cpu_s + 60);
    /* a sanitizer adds memory of its own */
    double grown_bytes = value_of(&after, "process_resident_memory_bytes") -
                         value_of(&before, "process_resident_memory_bytes");
    assert_true(grown_bytes > memory_bytes / 2 && grown_bytes < memory_bytes * 20);
    free(memory);
    text_clear(&before);
    text_clear(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_family_has_its_type),
        cmocka_unit_test(test_what_never_happened),
        cmocka_unit_test(test_requests_are_counted_by_route_and_status),
        cmocka_unit_test(test_each_status_of_the_contract_is_its_own),
        cmocka_unit_test(test_any_other_status_is_one_series),
        cmocka_unit_test(test_failures_of_requests_and_items_are_two),
        cmocka_unit_test(test_failures_have_names_of_their_own),
        cmocka_unit_test(test_a_failure_is_set_whole),
        cmocka_unit_test(test_the_process_is_told_as_it_is),
    };
    return cmocka_run_group_tests_name("service_metrics", tests, NULL, NULL);
}
