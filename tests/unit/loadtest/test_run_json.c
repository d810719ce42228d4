/* A whole run as JSON, built from the books that a run leaves, and the file that holds it. */
#include "loadtest/report/run_json.h"

#include "common/json.h"
#include "loadtest/judge/verdict.h"
#include "tests/support/json_expect.h"
#include "tests/support/support.h"

#include <math.h>
#include <unistd.h>

struct fixture {
    struct test_plan plan;
    struct load_result result;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char why[256];
    fixture->result = (struct load_result){.stats = malloc(sizeof *fixture->result.stats),
                                           .started_unix_s = 1700000000.25,
                                           .elapsed_ns = 3 * CLOCK_NS_PER_S / 2,
                                           .balanced = true};
    fixture->plan.load = (struct load_settings){.check = LOAD_CHECK_FEED,
                                                .items = 300,
                                                .timeout_ns = 5 * CLOCK_NS_PER_S,
                                                .max_in_flight = 2000,
                                                .threads = 2,
                                                .retries = 3,
                                                .retry_backoff_ns = CLOCK_NS_PER_S / 10,
                                                .retry_budget_percent = 10};
    assert_true(target_parse(&fixture->plan.load.target, "http://h:81", why, sizeof why));
    schedule_init(&fixture->plan.load.schedule, 20, 10, 7);
    assert_true(slo_parse(&fixture->plan.slos, SLO_DEFAULT, why, sizeof why));
    *state = fixture;
    return load_stats_init(fixture->result.stats, 20 * CLOCK_NS_PER_S) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    load_result_free(&fixture->result);
    free(fixture);
    return 0;
}

/* Books `count` requests with this outcome, which ended 1 s after they were due. */
static void put(struct fixture *fixture, enum outcome outcome, uint64_t count)
{
    struct load_stats *stats = fixture->result.stats;
    const struct request_end end = {.outcome = outcome,
                                    .sent_ns = 1,
                                    .first_byte_ns = 2,
                                    .at_ns = CLOCK_NS_PER_S,
                                    .timeout_ns = 5 * CLOCK_NS_PER_S};
    bool sent = outcome != OUTCOME_DROPPED;
    stats->ledger.scheduled += count;
    stats->ledger.sent += sent ? count : 0;
    stats->ledger.attempts += sent ? count : 0;
    for (uint64_t i = 0; i < count; i++)
        load_stats_end(stats, &end);
}

static json_t *build(const struct fixture *fixture)
{
    json_t *json = run_json_build(&fixture->plan, &fixture->result);
    assert_non_null(json);
    return json;
}

static void test_an_empty_run_has_every_key(void **state)
{
    struct fixture *fixture = *state;
    json_t *json = build(fixture);
    json_expect_keys(json, "",
                     "run verdict ledger errors errors_other latency_ms integrity crashes service "
                     "series spectrum seconds");
    json_expect(json, "errors", "[]");
    json_expect(json, "crashes", "null"); /* the service was not watched */
    json_expect(json, "service", "null");
    json_expect(json, "spectrum", "{\"response\":[],\"service\":[]}");
    json_expect_keys(json, "latency_ms", "response response_ok service first_byte connect lag");
    json_expect(json, "latency_ms.lag",
                "{\"count\":0,\"mean\":null,\"p50\":null,\"p90\":null,\"p95\":null,\"p99\":null,"
                "\"p99_9\":null,\"max\":null,\"at_least\":[]}");
    json_expect(json, "latency_ms.response.at_least_from_ms", "null");
    json_expect(json, "verdict.status", "\"FAIL\""); /* no request, so nothing is proven */
    assert_int_equal(json_array_size(json_at(json, "series")), 7);
    json_decref(json);
}

static void test_the_load_as_it_was_asked_for(void **state)
{
    struct fixture *fixture = *state;
    json_t *json = build(fixture);
    assert_string_equal(json_text_at(json, "run.url"), fixture->plan.load.target.url);
    json_expect(json, "run.loop", "\"open\"");
    json_expect(json, "run.closed", "null");
    json_expect(json, "run.arrivals", "\"constant\"");
    json_expect(json, "run.rate", "20.0");
    json_expect(json, "run.duration_s", "10.0");
    json_expect(json, "run.stages", "[{\"from\":20.0,\"to\":20.0,\"duration_s\":10.0}]");
    json_expect(json, "run.requests", "200");
    json_expect(json, "run.seed", "7");
    assert_int_equal(strlen(json_text_at(json, "run.schedule_hash")), 16);
    json_expect(json, "run.check", "\"feed\"");
    json_expect(json, "run.items", "300");
    json_expect(json, "run.timeout_s", "5.0");
    json_expect(json, "run.max_in_flight", "2000");
    json_expect(json, "run.threads", "2");
    json_expect(json, "run.retries", "3");
    json_expect(json, "run.retry_backoff_s", "0.1");
    json_expect(json, "run.retry_budget_percent", "10.0");
    json_expect(json, "run.segments", "[]");
    json_expect(json, "run.slo", "[\"wrong==0\",\"ok>=99.9%\"]");
    json_expect(json, "run.started_at", "1700000000.25");
    json_expect(json, "run.elapsed_s", "1.5");
    json_expect(json, "run.slot_s", "0.25");
    json_decref(json);
}

static void test_a_closed_loop_that_checks_the_status(void **state)
{
    struct fixture *fixture = *state;
    fixture->plan.load.closed = 4;
    fixture->plan.load.check = LOAD_CHECK_STATUS;
    schedule_set_arrivals(&fixture->plan.load.schedule, ARRIVALS_POISSON);
    json_t *json = build(fixture);
    json_expect(json, "run.loop", "\"closed\"");
    json_expect(json, "run.closed", "4");
    json_expect(json, "run.requests", "null");
    json_expect(json, "run.check", "\"status\"");
    json_expect(json, "run.items", "null");
    json_expect(json, "run.arrivals", "\"poisson\"");
    json_decref(json);
}

static void test_each_outcome_stands_under_its_key(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        put(fixture, (enum outcome)i, i + 1);
    fixture->result.stats->ledger.retries = 6;
    fixture->result.stats->ledger.attempts += 6;
    json_t *json = build(fixture);
    json_expect(json, "ledger",
                "{\"scheduled\":45,\"sent\":36,\"attempts\":42,\"retries\":6,\"ok\":1,\"wrong\":2,"
                "\"http_error\":3,\"protocol_error\":4,\"timeout\":5,\"connect_error\":6,"
                "\"reset\":7,\"in_flight_at_end\":8,\"dropped\":9,\"balanced\":true}");
    json_decref(json);
}

static void test_books_that_are_off_are_said_to_be(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, OUTCOME_OK, 1000);
    json_t *json = build(fixture);
    json_expect(json, "verdict.status", "\"PASS\"");
    json_decref(json);
    fixture->result.balanced = false;
    snprintf(fixture->result.imbalance, sizeof fixture->result.imbalance, "1 is not 2");
    json = build(fixture);
    json_expect(json, "ledger.balanced", "false");
    json_expect(json, "verdict.status", "\"BROKEN\"");
    json_expect(json, "verdict.exit_code", "1");
    json_decref(json);
}

static void test_thresholds_with_what_was_measured(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, OUTCOME_OK, 3);
    put(fixture, OUTCOME_TIMEOUT, 1);
    json_t *json = build(fixture);
    json_expect(json, "verdict.thresholds",
                "[{\"text\":\"wrong==0\",\"kept\":true,\"measured\":\"wrong is 0\"},"
                "{\"text\":\"ok>=99.9%\",\"kept\":false,\"measured\":\"ok is 75 %\"}]");
    json_expect(json, "verdict.status", "\"FAIL\"");
    json_expect(json, "verdict.exit_code", "99");
    assert_true(json_array_size(json_at(json, "verdict.reasons")) > 0);
    json_decref(json);
}

/* 60 answered after 1 s, 40 unanswered for 5 s: only lower bounds are known from the 61st on. */
static void test_lower_bounds_are_named(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, OUTCOME_OK, 60);
    put(fixture, OUTCOME_TIMEOUT, 40);
    json_t *json = build(fixture);
    json_expect(json, "latency_ms.response.count", "100");
    json_expect(json, "latency_ms.response.mean", "2600.0");
    json_expect(json, "latency_ms.response.at_least",
                "[\"mean\",\"p90\",\"p95\",\"p99\",\"p99_9\",\"max\"]");
    json_expect(json, "latency_ms.response.at_least_from_ms", "5000.0");
    json_expect(json, "latency_ms.response_ok.count", "60");
    json_expect(json, "latency_ms.response_ok.max", "1000.0");
    json_expect(json, "latency_ms.response_ok.at_least", "[]"); /* answered: all are known */
    json_expect(json, "latency_ms.service.count", "60");
    json_decref(json);
}

static void test_errors_with_their_first_and_their_course(void **state)
{
    struct fixture *fixture = *state;
    struct error_row row = {.outcome = OUTCOME_HTTP_ERROR,
                            .http_status = 503,
                            .ecode = -500,
                            .message = "busy",
                            .count = 3,
                            .first_at_ns = 3 * CLOCK_NS_PER_S / 10,
                            .request_id = "abc"};
    row.over_time[1] = 2;
    row.over_time[6] = 1;
    error_table_add(&fixture->result.stats->errors, &row);
    fixture->result.stats->errors.other = 5;
    json_t *json = build(fixture);
    json_expect(json, "errors",
                "[{\"outcome\":\"http_error\",\"http_status\":503,\"ecode\":-500,\"message\":"
                "\"busy\",\"count\":3,\"first_at_s\":0.3,\"request_id\":\"abc\",\"over_time\":"
                "[0,2,0,0,0,0,1]}]");
    json_expect(json, "errors_other", "5");
    json_decref(json);
}

static void test_defects_of_answers(void **state)
{
    struct fixture *fixture = *state;
    fixture->result.stats->defects = (struct feed_defects){
        .lost = 1, .foreign = 2, .duplicate = 3, .corrupt = 4, .malformed = 5};
    json_t *json = build(fixture);
    json_expect(json, "integrity",
                "{\"lost\":1,\"foreign\":2,\"duplicate\":3,\"corrupt\":4,\"malformed\":5}");
    json_decref(json);
}

static void test_the_service_as_it_was_watched(void **state)
{
    struct fixture *fixture = *state;
    fixture->result.has_service = true;
    fixture->result.service = (struct scrape_result){.samples = 8,
                                                     .failed_samples = 1,
                                                     .restarts = 2,
                                                     .down_at_end = true,
                                                     .pool_used_peak = 20,
                                                     .pool_pending_peak = (double)NAN,
                                                     .threads_peak = 305,
                                                     .timeouts = 173,
                                                     .use_time_sum_s = 1.5,
                                                     .use_time_count = 300};
    fixture->result.service.item_failures[ITEM_FAILURE_WRITE_DEADLINE] = 5;
    fixture->result.service.last.pool_max = 20;
    json_t *json = build(fixture);
    json_expect(json, "crashes", "2");
    json_expect(json, "service",
                "{\"samples\":8,\"failed_samples\":1,\"down_at_end\":true,\"pool_max\":20.0,"
                "\"pool_used_peak\":20.0,\"pool_pending_peak\":null,\"threads_peak\":305.0,"
                "\"checkout_timeouts\":173.0,\"use_time_sum_s\":1.5,\"use_time_count\":300.0,"
                "\"item_failures\":{\"checkout_timeout\":0.0,\"write_deadline\":5.0,"
                "\"read_deadline\":0.0,\"other\":0.0}}");
    json_decref(json);
}

static void test_only_finite_numbers_are_numbers(void **state)
{
    (void)state;
    json_t *numbers = json_pack("[o, o, o, o, o]", json_real_or_null(0), json_real_or_null(-1.5),
                                json_real_or_null((double)NAN), json_real_or_null((double)INFINITY),
                                json_real_or_null(-(double)INFINITY));
    json_expect(numbers, "", "[0.0,-1.5,null,null,null]");
    json_decref(numbers);
}

static void test_the_file_is_the_json_and_a_line_end(void **state)
{
    struct fixture *fixture = *state;
    char folder[] = "/tmp/flashover-json-XXXXXX";
    char path[64];
    char why[512] = "";
    put(fixture, OUTCOME_OK, 2);
    json_t *json = build(fixture);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/run.json", folder);
    for (int i = 0; i < 2; i++) { /* the second overwrites the first */
        assert_true(run_json_write_file(path, 0644, json, why, sizeof why));
        json_t *read = json_load_file(path, 0, NULL);
        json_expect(read, "ledger.ok", "2");
        json_expect(read, "run.elapsed_s", "1.5");
        json_decref(read);
    }
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fseek(file, -2, SEEK_END), 0);
    assert_int_equal(fgetc(file), '}');
    assert_int_equal(fgetc(file), '\n');
    fclose(file);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* nothing is left beside it */
    assert_false(run_json_write_file(path, 0644, json, why, sizeof why));
    assert_non_null(strstr(why, path));
    json_decref(json);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_an_empty_run_has_every_key),
        TEST(test_the_load_as_it_was_asked_for),
        TEST(test_a_closed_loop_that_checks_the_status),
        TEST(test_each_outcome_stands_under_its_key),
        TEST(test_books_that_are_off_are_said_to_be),
        TEST(test_thresholds_with_what_was_measured),
        TEST(test_lower_bounds_are_named),
        TEST(test_errors_with_their_first_and_their_course),
        TEST(test_defects_of_answers),
        TEST(test_the_service_as_it_was_watched),
        cmocka_unit_test(test_only_finite_numbers_are_numbers),
        TEST(test_the_file_is_the_json_and_a_line_end),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
