/* From figures to words: metrics, prediction, verdict, reports, the matrix's expectations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/client/service_sample.h"
#include "common/clock.h"
#include "loadtest/judge/verdict.h"
#include "loadtest/matrix/report.h"
#include "loadtest/matrix/verdict.h"
#include "loadtest/plan/prediction.h"
#include "loadtest/report/run_report.h"

#define assert_close(value, expected) assert_true(fabs((value) - (expected)) < 1e-6)

static void test_metrics_page(void **state)
{
    (void)state;
    struct service_sample sample;
    service_sample_parse(
        &sample,
        "# HELP process_start_time_seconds x\n# TYPE process_start_time_seconds gauge\n"
        "process_start_time_seconds 1.7000001235e+09\n"
        "db_client_connection_count{db_client_connection_pool_name=\"a\",state=\"used\"} 3\n"
        "db_client_connection_count{state=\"used\",db_client_connection_pool_name=\"b\"} 4\n"
        "db_client_connection_count{db_client_connection_pool_name=\"a\",state=\"idle\"} 5 "
        "1700000\n"
        "db_client_connection_count{db_client_connection_pool_name=\"a\",xstate=\"used\"} 100\n"
        "db_client_connection_maximum 99\n"
        "db_client_connection_max{x=\"a } b\"} 20\n"
        "db_client_connection_use_time_seconds_bucket{le=\"+Inf\"} 7\n"
        "db_client_connection_use_time_seconds_sum 0.25\n"
        "flashover_item_failures_total{message=\"checkout_timeout\"} 11\n"
        "flashover_item_failures_total{message=\"write_deadline\"} 12\n"
        "flashover_item_failures_total{message=\"read_deadline\"} 13\n"
        "flashover_item_failures_total{message=\"database\"} 14\n"
        "flashover_item_failures_total{message=\"limit\"} 15\n"
        "flashover_threads{state=\"query\"} 1\nflashover_threads{state=\"running\"} 2\n"
        "nonsense\n{} 1\nempty \nunfinished{a=\"b\" 1\n\n"
        "flashover_config_items 300");
    assert_close(sample.start_time_s, 1700000123.5);
    assert_close(sample.pool_used, 7);
    assert_close(sample.pool_idle, 5);
    assert_close(sample.pool_max, 20);
    assert_close(sample.use_time_sum_s, 0.25);
    assert_true(isnan(sample.use_time_count));
    assert_close(sample.item_failures[ITEM_FAILURE_CHECKOUT_TIMEOUT], 11);
    assert_close(sample.item_failures[ITEM_FAILURE_WRITE_DEADLINE], 12);
    assert_close(sample.item_failures[ITEM_FAILURE_READ_DEADLINE], 13);
    assert_close(sample.item_failures[ITEM_FAILURE_OTHER], 29);
    assert_close(sample.threads, 3);
    assert_close(sample.items, 300);
    service_sample_parse(&sample, "");
    assert_true(isnan(sample.start_time_s));
}

/* The default pool and load: 20 connections, 300 items, 5 ms a query, 20 requests a second. */
static void test_prediction(void **state)
{
    (void)state;
    struct prediction_input input = {.pool_size = 20,
                                     .items = 300,
                                     .hold_s = 0.005,
                                     .request_timeout_s = 1,
                                     .rate_per_s = 20,
                                     .per_item = true};
    struct prediction prediction = prediction_compute(&input);
    assert_true(fabs(prediction.capacity_per_s - 13.3) < 0.05);
    assert_close(prediction.alone_s, 0.080);
    assert_true(fabs(prediction.first_timeout_s - 3) < 0.05);
    input.hold_s = 0.0055;
    assert_true(fabs(prediction_compute(&input).first_timeout_s - 2.5) < 0.05);
    input.rate_per_s = 10;
    assert_true(isinf(prediction_compute(&input).first_timeout_s));
    input.per_item = false;
    assert_close(prediction_compute(&input).alone_s, 0.0055);
    assert_true(fabs(prediction_compute(&input).capacity_per_s - 3636) < 1);
    input.hold_s = (double)NAN;
    assert_true(isnan(prediction_compute(&input).first_timeout_s));
}

struct fixture {
    struct test_plan plan;
    struct load_result result;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char why[64];
    fixture->result.stats = malloc(sizeof *fixture->result.stats);
    assert_true(load_stats_init(fixture->result.stats, 16 * CLOCK_NS_PER_S));
    fixture->result.balanced = true;
    fixture->result.elapsed_ns = 10 * CLOCK_NS_PER_S;
    fixture->plan.load = (struct load_settings){.check = LOAD_CHECK_FEED,
                                                .items = 300,
                                                .timeout_ns = 5 * CLOCK_NS_PER_S,
                                                .max_in_flight = 2000,
                                                .threads = 1};
    assert_true(target_parse(&fixture->plan.load.target, "http://127.0.0.1:8080", why, sizeof why));
    schedule_init(&fixture->plan.load.schedule, 20, 10, 1);
    assert_true(slo_parse(&fixture->plan.slos, SLO_DEFAULT, why, sizeof why));
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    load_result_free(&fixture->result);
    free(fixture);
    return 0;
}

static void put(struct fixture *fixture, enum outcome outcome, uint64_t count, const char *message)
{
    struct load_stats *stats = fixture->result.stats;
    stats->ledger.scheduled += count;
    stats->ledger.sent += outcome != OUTCOME_DROPPED ? count : 0;
    stats->ledger.attempts = stats->ledger.sent;
    const struct request_end end = {.outcome = outcome,
                                    .sent_ns = 1,
                                    .first_byte_ns = 2,
                                    .at_ns = 20 * CLOCK_NS_PER_MS,
                                    .timeout_ns = 5 * CLOCK_NS_PER_S};
    for (uint64_t i = 0; i < count; i++)
        load_stats_end(stats, &end);
    struct error_row row = {.outcome = outcome, .count = count, .first_at_ns = CLOCK_NS_PER_S};
    if (message && count > 0) {
        error_table_plain(row.message, sizeof row.message, message);
        error_table_add(&stats->errors, &row);
    }
}

static char said[4096];

static void remember(void *argument, const char *sentence)
{
    (void)argument;
    strncat(said, sentence, sizeof said - strlen(said) - 1);
}

static const char *explain(const struct fixture *fixture)
{
    said[0] = '\0';
    verdict_explain(&fixture->result, &fixture->plan, remember, NULL);
    return said;
}

static enum exit_code code(const struct fixture *fixture)
{
    return verdict_exit_code(&fixture->result, &fixture->plan);
}

static void test_pass_and_fail(void **state)
{
    struct fixture *fixture = *state;
    assert_false(verdict_passed(fixture->result.stats,
                                &fixture->plan.slos)); /* nothing was sent, so nothing is proven */
    put(fixture, OUTCOME_OK, 999, NULL);
    assert_int_equal(code(fixture), EXIT_PASS);
    put(fixture, OUTCOME_TIMEOUT, 1, "no answer");
    assert_int_equal(code(fixture), EXIT_PASS); /* exactly 99.9 % */
    put(fixture, OUTCOME_TIMEOUT, 1, "no answer");
    assert_int_equal(code(fixture), EXIT_THRESHOLD);
    put(fixture, OUTCOME_OK, 100000, NULL);
    assert_int_equal(code(fixture), EXIT_PASS);
    put(fixture, OUTCOME_WRONG, 1, "wrong map");
    assert_int_equal(code(fixture), EXIT_THRESHOLD); /* one is too many */
    fixture->result.stop_reason = 2;
    assert_string_equal(verdict_word(code(fixture)), "STOPPED");
    assert_int_equal(code(fixture), 105);
    fixture->result.balanced = false;
    assert_int_equal(code(fixture), EXIT_TROUBLE);
}

static void use_slos(struct fixture *fixture, const char *text)
{
    char why[256];
    fixture->plan.slos.count = 0;
    assert_true(slo_parse(&fixture->plan.slos, text, why, sizeof why));
}

static void test_thresholds(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, OUTCOME_OK, 980, NULL); /* 20 ms each */
    put(fixture, OUTCOME_HTTP_ERROR, 10, "busy");
    static const struct {
        const char *slo;
        bool holds;
    } cases[] = {{"p(99)<21", true},       {"p(99)<20", false},   {"p99<=20ms", true},
                 {"med>=20", true},        {"avg == 20", true},   {"max<0.021s", true},
                 {"max>20", false},        {"ok>98.9%", true},    {"ok>99%", false},
                 {"ok>=980", true},        {"ok>980", false},     {"failed<=10", true},
                 {"http_error==10", true}, {"failed<1%", false},  {"wrong==0,timeout==0", true},
                 {"reset<1,ok<2", false},  {"p(99.9)<25ms", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        use_slos(fixture, cases[i].slo);
        assert_int_equal(code(fixture), cases[i].holds ? EXIT_PASS : EXIT_THRESHOLD);
        if (!cases[i].holds)
            assert_non_null(strstr(explain(fixture), "not kept"));
    }
    put(fixture, OUTCOME_TIMEOUT, 10, "no answer"); /* 1 % at 5 s or more */
    use_slos(fixture, "p(99)<21");
    assert_int_equal(code(fixture), EXIT_PASS);
    use_slos(fixture, "p(99.5)<60000"); /* at least 5 s, but perhaps over a minute */
    assert_int_equal(code(fixture), EXIT_THRESHOLD);
    assert_non_null(strstr(explain(fixture), "p(99.5) is at least 5000 ms"));
    use_slos(fixture, "p(99.5)>=4s,avg>60"); /* proves a lower bound */
    assert_int_equal(code(fixture), EXIT_PASS);
    put(fixture, OUTCOME_WRONG, 1, "wrong map");
    use_slos(fixture, "ok>0");
    assert_int_equal(code(fixture), EXIT_THRESHOLD); /* no threshold allows it */
    use_slos(fixture, "wrong<2");
    assert_int_equal(code(fixture), EXIT_PASS);
}

static void test_no_pass_without_a_right_answer(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, OUTCOME_CONNECT_ERROR, 100, "Connection refused");
    use_slos(fixture, "failed<=100%,ok>=0");
    assert_int_equal(code(fixture), EXIT_THRESHOLD);
}

static void test_thresholds_that_are_none(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",         "p(99)",       "p(99)<",        "p(0)<1",
                                        "p(101)<1", "p()<1",       "p(99<1",        "q(99)<1",
                                        "ok>x",     "ok>101%",     "ok=1",          "ok>1,",
                                        ",ok>1",    "p99<2d",      "avg<-1",        "ok>1%%",
                                        "okay>1",   "p(99)<1 2x",  "avg<5000e5555", "p(99)<1e999s",
                                        "ok>1e999", "wrong==1e999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct slo_list list = {.count = 0};
        char why[256] = "";
        assert_false(slo_parse(&list, wrong[i], why, sizeof why));
        assert_non_null(strstr(why, "is no threshold"));
    }
}

static void test_invalid_when_the_generator_was_the_bottleneck(void **state)
{
    struct fixture *fixture = *state;
    struct load_stats *stats = fixture->result.stats;
    put(fixture, OUTCOME_OK, 1000, NULL); /* 20 ms each */
    for (int i = 0; i < 985; i++)
        histogram_record_us(&stats->lag, 50);
    assert_int_equal(code(fixture), EXIT_PASS);
    for (int i = 0; i < 15; i++)
        histogram_record_us(&stats->lag, 25000);
    assert_int_equal(code(fixture), EXIT_INVALID);
    assert_string_equal(verdict_word(code(fixture)), "INVALID");
    assert_non_null(strstr(explain(fixture), "did not keep its schedule"));
    histogram_reset(&stats->lag);
    assert_int_equal(code(fixture), EXIT_PASS);
    stats->generator.busiest_share = 0.95;
    assert_non_null(strstr(explain(fixture), "out of CPU"));
    assert_int_equal(code(fixture), EXIT_INVALID);
    stats->generator = (struct generator_stats){.out_of_ports = 1};
    assert_non_null(strstr(explain(fixture), "out of ports"));
    assert_int_equal(code(fixture), EXIT_INVALID);
    stats->generator = (struct generator_stats){.out_of_descriptors = 1};
    assert_non_null(strstr(explain(fixture), "out of descriptors"));
    assert_int_equal(code(fixture), EXIT_INVALID);
    fixture->result.stop_reason = STOP_BY_REST; /* a stopped run has no verdict */
    assert_int_equal(code(fixture), 103);
}

static void test_a_crash_is_not_slowness(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, OUTCOME_CONNECT_ERROR, 5, "Connection refused");
    put(fixture, OUTCOME_RESET, 2, "Connection reset by peer");
    assert_non_null(strstr(explain(fixture), "cannot be told"));
    fixture->result.has_service = true;
    fixture->result.service.samples = 1;
    assert_non_null(strstr(explain(fixture), "no crash"));
    fixture->result.service.restarts = 3;
    fixture->result.service.first_restart_at_ns = 2 * CLOCK_NS_PER_S;
    assert_non_null(strstr(explain(fixture), "The service crashed"));
    assert_non_null(strstr(explain(fixture), "3 times (first seen 2.0 s"));
    assert_null(strstr(explain(fixture), "no crash"));
    put(fixture, OUTCOME_TIMEOUT, 4, "no answer");
    assert_null(strstr(explain(fixture), "slow, not dead"));
    fixture->result.service.restarts = 0;
    assert_non_null(strstr(explain(fixture), "slow, not dead"));
}

static void test_censored_latency(void **state)
{
    struct fixture *fixture = *state;
    struct histogram *histogram = &fixture->result.stats->response_all;
    char out[RUN_REPORT_LATENCY_SIZE];
    run_report_latency(out, histogram, 99, false);
    assert_string_equal(out, "-");
    histogram_record_us(histogram, 850);
    histogram_record_us(histogram, 4213);
    histogram_record_us(histogram, 1000000);
    run_report_latency(out, histogram, 1, false);
    assert_string_equal(out, "850 us");
    run_report_latency(out, histogram, 50, false);
    assert_string_equal(out, "4.21 ms");
    run_report_latency(out, histogram, 99, true);
    assert_string_equal(out, ">=1.00 s");
    run_report_latency(out, histogram, 99, false);
    assert_string_equal(out, "1.00 s");
}

static void assert_at_most_100_columns(const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        assert_in_range(length, 0, 100);
        text += length + (text[length] == '\n');
    }
}

static struct matrix_cell judged(struct fixture *fixture, size_t kind)
{
    struct matrix_cell cell = {.kind = &matrix_cell_kinds[kind], .result = fixture->result};
    matrix_figures_take(&cell.figures, &cell.result);
    matrix_cell_judge(&cell);
    return cell;
}

static void test_matrix_expectations(void **state)
{
    struct fixture *fixture = *state;
    struct scrape_result *service = &fixture->result.service;
    assert_non_null(strstr(judged(fixture, 0).failure, "admin port never answered"));
    fixture->result.has_service = true;
    put(fixture, OUTCOME_OK, 100, NULL);
    assert_non_null(strstr(judged(fixture, 0).failure, "expected a crash"));
    assert_non_null(strstr(judged(fixture, 1).failure, "expected pool timeouts"));
    assert_string_equal(judged(fixture, 2).failure, "");
    assert_string_equal(judged(fixture, 3).failure, "");
    service->restarts = 1;
    assert_string_equal(judged(fixture, 0).failure, "");
    for (size_t kind = 1; kind < MATRIX_CELLS; kind++)
        assert_non_null(strstr(judged(fixture, kind).failure, "expected no crash"));
    service->restarts = 0;

    put(fixture, OUTCOME_HTTP_ERROR, 3,
        "timed out while checking out a connection from connection pool");
    assert_non_null(strstr(judged(fixture, 1).failure, "failed to write"));
    assert_non_null(strstr(judged(fixture, 3).failure, "expected every answer to be right"));
    service->item_failures[ITEM_FAILURE_WRITE_DEADLINE] = 1; /* only the service counted it */
    assert_string_equal(judged(fixture, 1).failure, "");
    put(fixture, OUTCOME_HTTP_ERROR, 2,
        "connection(127.0.0.1:5432) failed to write: context deadline exceeded");
    put(fixture, OUTCOME_HTTP_ERROR, 4,
        "connection(127.0.0.1:5432) incomplete read of message: context deadline exceeded");
    put(fixture, OUTCOME_TIMEOUT, 5, "no whole answer");
    put(fixture, OUTCOME_RESET, 6, "Connection reset by peer");
    struct matrix_figures figures = judged(fixture, 1).figures;
    assert_int_equal(figures.pool_timeouts, 3);
    assert_int_equal(figures.write_deadlines, 2);
    assert_int_equal(figures.read_deadlines, 4);
    assert_int_equal(figures.other_errors, 5);
    assert_int_equal(figures.refused_or_reset, 6);
    assert_int_equal(figures.first_pool_timeout_ns, CLOCK_NS_PER_S);
    assert_string_equal(judged(fixture, 1).failure, "");
    put(fixture, OUTCOME_WRONG, 1, "wrong map: entries lost");
    assert_non_null(strstr(judged(fixture, 1).failure, "wrong answer"));
}

static void test_matrix_report_fits(void **state)
{
    struct fixture *fixture = *state;
    struct matrix matrix = {.plan = fixture->plan};
    struct text out = {0};
    put(fixture, OUTCOME_OK, 100000, NULL);
    put(fixture, OUTCOME_TIMEOUT, 100000, "no whole answer");
    fixture->result.has_service = true;
    service_sample_parse(&fixture->result.service.last, "");
    for (size_t i = 0; i < MATRIX_CELLS; i++) {
        matrix.cells[i] = judged(fixture, i);
        matrix.cells[i].done = i < 3;
        matrix.cells[i].nominal_hold_s = 0.0055;
        matrix.cells[i].measured_hold_s = (double)NAN;
    }
    matrix_report_write(&out, &matrix);
    assert_at_most_100_columns(out.data);
    assert_non_null(strstr(out.data, "NOT RUN: mutex+batched"));
    json_t *json = matrix_report_json(&matrix);
    assert_int_equal(json_array_size(json_object_get(json, "cells")), 3);
    json_decref(json);
    text_clear(&out);
    run_report_write(&out, &fixture->plan, &fixture->result);
    assert_at_most_100_columns(out.data);
    text_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_page),
        cmocka_unit_test(test_prediction),
        cmocka_unit_test_setup_teardown(test_pass_and_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_thresholds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_pass_without_a_right_answer, setup, teardown),
        cmocka_unit_test(test_thresholds_that_are_none),
        cmocka_unit_test_setup_teardown(test_invalid_when_the_generator_was_the_bottleneck, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_crash_is_not_slowness, setup, teardown),
        cmocka_unit_test_setup_teardown(test_censored_latency, setup, teardown),
        cmocka_unit_test_setup_teardown(test_matrix_expectations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_matrix_report_fits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
