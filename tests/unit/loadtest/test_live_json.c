/* A run under way as JSON: unknown values are null, and the keys never change. */
#include "loadtest/serve/live_json.h"

#include "tests/support/json_expect.h"
#include "tests/support/support.h"

#define KEY_OF(name, key, label, class, answered, meaning) " " key
#define OUTCOME_KEYS                                       OUTCOME_TABLE(KEY_OF)

/* After 2.5 s: 100 planned, 50 scheduled, of those 3 retried, 4 under way and 2 never sent. */
static struct run_live after_a_while(void)
{
    struct run_live live = {.updates = 10, .elapsed_s = 2.5, .planned = 100};
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
    struct run_live live = {.updates = 1, .planned = 7};
    json_t *json = live_json_build(&live);
    json_expect_keys(json, "", "elapsed_s planned stopping in_flight ledger latest service");
    json_expect_keys(json, "ledger", "scheduled sent attempts retries" OUTCOME_KEYS);
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

/* A window of half a second: 12 requests in it are 24 a second. */
static void test_the_latest_window_is_per_second(void **state)
{
    (void)state;
    struct run_live live = after_a_while();
    live.figures.latest.window_s = 0.5;
    live.figures.latest.scheduled = 12;
    live.figures.latest.outcomes[OUTCOME_OK] = 11;
    live.figures.latest.outcomes[OUTCOME_TIMEOUT] = 1;
    for (int i = 0; i < 98; i++)
        coarse_histogram_record_ns(&live.figures.latest.response, 50 * CLOCK_NS_PER_US);
    coarse_histogram_record_ns(&live.figures.latest.response, 60 * CLOCK_NS_PER_US);
    coarse_histogram_record_ns(&live.figures.latest.response, 63 * CLOCK_NS_PER_US);
    json_t *json = live_json_build(&live);
    json_expect_keys(json, "latest", "window_s rate outcomes p99_ms p99_at_least");
    json_expect(json, "latest.window_s", "0.5");
    json_expect(json, "latest.rate", "24.0");
    json_expect(json, "latest.p99_ms", "0.06");                  /* of 100, the 99th */
    json_expect_keys(json, "latest.outcomes", &OUTCOME_KEYS[1]); /* without the first blank */
    double ended = 0;
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        char path[64];
        snprintf(path, sizeof path, "latest.outcomes.%s", ledger_outcome_key((enum outcome)i));
        ended += json_number_at(json, path);
    }
    json_expect(json, "latest.outcomes.ok", "22.0");
    json_expect(json, "latest.outcomes.timeout", "2.0");
    json_expect(json, "latest.outcomes.wrong", "0.0");
    assert_true(ended == 24); /* the others are zero */
    json_decref(json);
}

static void test_a_window_without_an_end_has_no_percentile(void **state)
{
    (void)state;
    struct run_live live = after_a_while();
    live.figures.latest.window_s = 1;
    live.figures.latest.scheduled = 3;
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
    json_expect(json, "service", "null"); /* whatever the sample holds */
    json_decref(json);
    live.service_state = SCRAPE_UP;
    json = live_json_build(&live);
    json_expect(json, "service",
                "{\"up\":true,\"pool_used\":20.0,\"pool_max\":20.0,\"pool_pending\":281.5,"
                "\"threads\":305.0}");
    json_decref(json);
    live.service_state = SCRAPE_DOWN; /* the last figures are old */
    json = live_json_build(&live);
    json_expect(json, "service",
                "{\"up\":false,\"pool_used\":null,\"pool_max\":null,\"pool_pending\":null,"
                "\"threads\":null}");
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
