/* A run under way as JSON: what nobody has seen yet is null, and no key ever comes or goes. */
#include "loadtest/live_json.h"

#include "json_expect.h"
#include "support.h"

#define LEDGER_KEYS                                                                                \
    "scheduled sent attempts retries ok wrong http_error protocol_error timeout connect_error "    \
    "reset in_flight_at_end dropped"

/* After 2.5 s: 100 planned, 50 scheduled, of those 3 retried, 4 under way and 2 never sent. */
static struct run_live after_a_while(void)
{
    struct run_live live = {.looks = 10, .elapsed_s = 2.5, .planned = 100};
    struct ledger *ledger = &live.figures.ledger;
    *ledger = (struct ledger){.scheduled = 50, .sent = 48, .attempts = 51, .retries = 3};
    ledger->outcomes[OUTCOME_OK] = 40;
    ledger->outcomes[OUTCOME_HTTP_ERROR] = 3;
    ledger->outcomes[OUTCOME_RESET] = 1;
    ledger->outcomes[OUTCOME_DROPPED] = 2;
    live.figures.in_flight = 4;
    return live;
}

static void test_nobody_has_looked(void **state)
{
    (void)state;
    struct run_live live = {.planned = 100};
    json_t *json = live_json_build(&live);
    json_expect(json, "", "null");
    json_decref(json);
}

static void test_the_first_look_has_every_key(void **state)
{
    (void)state;
    struct run_live live = {.looks = 1, .planned = 7};
    json_t *json = live_json_build(&live);
    json_expect_keys(json, "", "elapsed_s planned stopping in_flight ledger latest service");
    json_expect_keys(json, "ledger", LEDGER_KEYS);
    json_expect(json, "elapsed_s", "0.0");
    json_expect(json, "planned", "7");
    json_expect(json, "stopping", "false");
    json_expect(json, "in_flight", "0");
    json_expect(json, "latest", "null");
    json_expect(json, "service", "null");
    json_decref(json);
}

static void test_the_books_so_far_balance(void **state)
{
    (void)state;
    struct run_live live = after_a_while();
    json_t *json = live_json_build(&live);
    double ended = 0;
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        char path[64];
        snprintf(path, sizeof path, "ledger.%s", ledger_outcome_key((enum outcome)i));
        ended += json_number_at(json, path);
    }
    assert_true(ended + json_number_at(json, "in_flight") ==
                json_number_at(json, "ledger.scheduled"));
    assert_true(json_number_at(json, "ledger.sent") + json_number_at(json, "ledger.retries") ==
                json_number_at(json, "ledger.attempts"));
    json_expect(json, "ledger.ok", "40");
    json_expect(json, "ledger.http_error", "3");
    json_expect(json, "ledger.reset", "1");
    json_expect(json, "ledger.dropped", "2");
    json_expect(json, "elapsed_s", "2.5");
    json_decref(json);
}

static void test_a_closed_loop_has_no_plan(void **state)
{
    (void)state;
    struct run_live live = after_a_while();
    live.planned = 0;
    live.stopping = true;
    json_t *json = live_json_build(&live);
    json_expect(json, "planned", "null");
    json_expect(json, "stopping", "true");
    json_decref(json);
}

/* A slot of half a second: 12 of it are 24 a second. */
static void test_the_latest_window_is_per_second(void **state)
{
    (void)state;
    struct run_live live = after_a_while();
    live.figures.window_s = 0.5;
    live.figures.window_scheduled = 12;
    live.figures.window_outcomes[OUTCOME_OK] = 11;
    live.figures.window_outcomes[OUTCOME_TIMEOUT] = 1;
    for (int i = 0; i < 98; i++)
        coarse_histogram_record_ns(&live.figures.window_response, 50 * CLOCK_NS_PER_US);
    coarse_histogram_record_ns(&live.figures.window_response, 60 * CLOCK_NS_PER_US);
    coarse_histogram_record_ns(&live.figures.window_response, 63 * CLOCK_NS_PER_US);
    json_t *json = live_json_build(&live);
    json_expect_keys(json, "latest", "window_s rate outcomes p99_ms");
    json_expect(json, "latest.window_s", "0.5");
    json_expect(json, "latest.rate", "24.0");
    json_expect(json, "latest.p99_ms", "0.06"); /* of 100, the 99th */
    json_expect(json, "latest.outcomes",
                "{\"ok\":22.0,\"wrong\":0.0,\"http_error\":0.0,\"protocol_error\":0.0,"
                "\"timeout\":2.0,\"connect_error\":0.0,\"reset\":0.0,\"in_flight_at_end\":0.0,"
                "\"dropped\":0.0}");
    json_decref(json);
}

static void test_a_window_without_an_end_has_no_percentile(void **state)
{
    (void)state;
    struct run_live live = after_a_while();
    live.figures.window_s = 1;
    live.figures.window_scheduled = 3;
    json_t *json = live_json_build(&live);
    json_expect(json, "latest.rate", "3.0");
    json_expect(json, "latest.p99_ms", "null");
    json_decref(json);
}

static void test_the_service_is_up_or_down_or_unknown(void **state)
{
    (void)state;
    struct run_live live = after_a_while();
    live.service = (struct service_sample){
        .pool_used = 20, .pool_max = 20, .pool_pending = 281.5, .threads = 305};
    json_t *json = live_json_build(&live);
    json_expect(json, "service", "null"); /* whatever lies there */
    json_decref(json);
    live.service_state = SCRAPE_UP;
    json = live_json_build(&live);
    json_expect(json, "service",
                "{\"up\":true,\"pool_used\":20.0,\"pool_max\":20.0,\"pool_pending\":281.5,"
                "\"threads\":305.0}");
    json_decref(json);
    live.service_state = SCRAPE_DOWN; /* the figures are the last ones */
    json = live_json_build(&live);
    json_expect(json, "service.up", "false");
    json_expect(json, "service.threads", "305.0");
    json_decref(json);
}

static void test_what_the_page_lacks_is_null(void **state)
{
    (void)state;
    struct run_live live = after_a_while();
    live.service_state = SCRAPE_UP;
    service_sample_parse(&live.service, "flashover_threads{state=\"idle\"} 2\n");
    json_t *json = live_json_build(&live);
    json_expect(
        json, "service",
        "{\"up\":true,\"pool_used\":null,\"pool_max\":null,\"pool_pending\":null,\"threads\":2.0}");
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_has_looked),
        cmocka_unit_test(test_the_first_look_has_every_key),
        cmocka_unit_test(test_the_books_so_far_balance),
        cmocka_unit_test(test_a_closed_loop_has_no_plan),
        cmocka_unit_test(test_the_latest_window_is_per_second),
        cmocka_unit_test(test_a_window_without_an_end_has_no_percentile),
        cmocka_unit_test(test_the_service_is_up_or_down_or_unknown),
        cmocka_unit_test(test_what_the_page_lacks_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
