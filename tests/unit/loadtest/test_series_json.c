/* A run over time as JSON: its slots, the service's figures on the same axis, the spectra. */
#include "loadtest/report/series_json.h"

#include "tests/support/json_expect.h"
#include "tests/support/support.h"

#include <math.h>

#define SLOT_NS (CLOCK_NS_PER_S / 4)

#define ZERO_OF(name, key, label, class, answered, meaning) ",\"" key "\":0"

struct fixture {
    struct load_stats stats;
    struct service_series looks;
    struct load_result result;
};

/* The run needed three slots of 250 ms. The timeline has 41. */
static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->result = (struct load_result){
        .stats = &fixture->stats, .start_ns = 100 * CLOCK_NS_PER_S, .elapsed_ns = 3 * SLOT_NS - 1};
    fixture->result.service.series = &fixture->looks;
    *state = fixture;
    return load_stats_init(&fixture->stats, 10 * CLOCK_NS_PER_S) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    load_stats_destroy(&fixture->stats);
    free(fixture);
    return 0;
}

static void test_there_are_slots_until_the_last_requests_end(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        int64_t elapsed_ns;
        unsigned slots;
    } cases[] = {{0, 1},           {SLOT_NS - 1, 1},          {SLOT_NS, 2},
                 {3 * SLOT_NS, 4}, {10 * CLOCK_NS_PER_S, 41}, {99 * CLOCK_NS_PER_S, 41}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture->result.elapsed_ns = cases[i].elapsed_ns;
        assert_int_equal(series_json_slots(&fixture->result), cases[i].slots);
        json_t *json = series_json_build(&fixture->result);
        assert_int_equal(json_array_size(json), cases[i].slots);
        json_decref(json);
    }
}

static void test_an_empty_run_is_zeros_and_nulls(void **state)
{
    struct fixture *fixture = *state;
    json_t *json = series_json_build(&fixture->result);
    char expected[512];
    snprintf(expected, sizeof expected,
             "{\"t_s\":0.5,\"scheduled\":0,\"attempts\":0,\"outcomes\":{%s},\"response_ms\":null,"
             "\"service_ms\":null,\"service\":null}",
             &OUTCOME_TABLE(ZERO_OF)[1]); /* without the first comma */
    json_expect(json, "2", expected);
    json_decref(json);
}

static void test_a_slot_has_its_own_figures(void **state)
{
    struct fixture *fixture = *state;
    struct timeline_slot *slot = &fixture->stats.timeline.slots[1];
    slot->scheduled = 7;
    slot->attempts = 9;
    slot->outcomes[OUTCOME_OK] = 5;
    slot->outcomes[OUTCOME_DROPPED] = 2;
    for (int64_t us = 1; us <= 50; us++)
        coarse_histogram_record_ns(&slot->response, us * CLOCK_NS_PER_US);
    coarse_histogram_record_ns(&slot->service, 13 * CLOCK_NS_PER_US);
    json_t *json = series_json_build(&fixture->result);
    json_expect(json, "1.t_s", "0.25");
    json_expect(json, "1.scheduled", "7");
    json_expect(json, "1.attempts", "9");
    json_expect(json, "1.outcomes.ok", "5");
    json_expect(json, "1.outcomes.dropped", "2");
    json_expect(json, "1.response_ms", "{\"p50\":0.025,\"p99\":0.05,\"max\":0.05}");
    json_expect(json, "1.service_ms", "{\"p50\":0.013,\"p99\":0.013,\"max\":0.013}");
    json_expect(json, "0.scheduled", "0");
    json_expect(json, "2.response_ms", "null");
    json_decref(json);
}

/* Each request is in the series once, whatever its slot. */
static void test_the_slots_add_up_to_the_ledger(void **state)
{
    struct fixture *fixture = *state;
    for (int64_t i = 0; i < 60; i++) {
        const struct request_end end = {.outcome = i % 3 ? OUTCOME_OK : OUTCOME_RESET,
                                        .start_ns = fixture->result.start_ns,
                                        .intended_ns = fixture->result.start_ns,
                                        .sent_ns = fixture->result.start_ns,
                                        .first_byte_ns = fixture->result.start_ns + 1,
                                        .at_ns = fixture->result.start_ns + i * SLOT_NS / 20,
                                        .timeout_ns = CLOCK_NS_PER_S};
        load_stats_end(&fixture->stats, &end);
    }
    json_t *json = series_json_build(&fixture->result);
    double ok = 0;
    double reset = 0;
    for (size_t i = 0; i < json_array_size(json); i++) {
        ok += json_number_at(json_array_get(json, i), "outcomes.ok");
        reset += json_number_at(json_array_get(json, i), "outcomes.reset");
    }
    assert_int_equal(ok, fixture->stats.ledger.outcomes[OUTCOME_OK]);
    assert_int_equal(reset, fixture->stats.ledger.outcomes[OUTCOME_RESET]);
    json_decref(json);
}

/* Adds a look this long after the start; `page` NULL: it failed. */
static void add_point(struct fixture *fixture, int64_t after_ns, const char *page,
                      unsigned restarts)
{
    struct service_point point = {
        .at_ns = fixture->result.start_ns + after_ns, .is_up = page != NULL, .restarts = restarts};
    service_sample_parse(&point.sample, page ? page : "");
    service_series_add(&fixture->looks, &point);
    fixture->result.has_service = true;
}

static void test_a_look_stands_in_the_slot_of_its_moment(void **state)
{
    struct fixture *fixture = *state;
    add_point(fixture, -1, "db_client_connection_max 1", 0); /* before the start */
    add_point(fixture, SLOT_NS, "db_client_connection_max 2", 0);
    add_point(fixture, 3 * SLOT_NS - 1, "db_client_connection_max 3", 1);
    add_point(fixture, 3 * SLOT_NS, "db_client_connection_max 4", 1); /* after the end */
    json_t *json = series_json_build(&fixture->result);
    json_expect(json, "0.service", "null");
    json_expect(json, "1.service.pool_max", "2.0");
    json_expect(json, "1.service.restarts", "0");
    json_expect(json, "2.service.pool_max", "3.0");
    json_expect(json, "2.service.restarts", "1");
    json_decref(json);
}

static void test_what_a_look_lacks_is_null(void **state)
{
    struct fixture *fixture = *state;
    add_point(fixture, 0, "flashover_threads{state=\"query\"} 4\n", 0);
    add_point(fixture, SLOT_NS, NULL, 2); /* it failed */
    json_t *json = series_json_build(&fixture->result);
    json_expect(json, "0.service",
                "{\"up\":true,\"restarts\":0,\"pool_used\":null,\"pool_idle\":null,"
                "\"pool_max\":null,\"pool_pending\":null,\"timeouts\":null,\"backends\":null,"
                "\"threads\":{\"idle\":null,\"running\":null,\"pool checkout\":null,"
                "\"query\":4.0,\"map lock\":null,\"log lock\":null,\"WaitGroup wait\":null}}");
    json_expect(json, "1.service", "{\"up\":false,\"restarts\":2}");
    json_decref(json);
}

static void test_without_an_admin_port_no_look_is_shown(void **state)
{
    struct fixture *fixture = *state;
    add_point(fixture, 0, "db_client_connection_max 2", 0);
    fixture->result.has_service = false;
    json_t *json = series_json_build(&fixture->result);
    json_expect(json, "0.service", "null");
    json_decref(json);
}

#define PENDING(count) "db_client_connection_pending_requests " count

static void test_of_several_looks_the_worst_is_shown(void **state)
{
    struct fixture *fixture = *state;
    add_point(fixture, 0, PENDING("1"), 0);
    add_point(fixture, 1, PENDING("30"), 0);
    add_point(fixture, 2, PENDING("2"), 0);
    add_point(fixture, SLOT_NS, PENDING("9"), 0);
    add_point(fixture, SLOT_NS + 1, NULL, 1);
    add_point(fixture, SLOT_NS + 2, PENDING("99"), 1);
    add_point(fixture, 2 * SLOT_NS, "", 0); /* no figure of waiters */
    add_point(fixture, 2 * SLOT_NS + 1, PENDING("5"), 0);
    add_point(fixture, 2 * SLOT_NS + 2, "", 0);
    json_t *json = series_json_build(&fixture->result);
    json_expect(json, "0.service.pool_pending", "30.0");
    json_expect(json, "1.service.up", "false");
    json_expect(json, "2.service.pool_pending", "5.0");
    json_decref(json);
}

static struct histogram *histogram_of(unsigned count)
{
    static struct histogram histogram;
    histogram_reset(&histogram);
    for (unsigned i = 1; i <= count; i++)
        histogram_record_us(&histogram, i);
    return &histogram;
}

static void test_the_spectrum_of_nothing_and_of_one(void **state)
{
    (void)state;
    json_t *json = series_json_spectrum(histogram_of(0));
    json_expect(json, "", "[]");
    json_decref(json);
    json = series_json_spectrum(histogram_of(1));
    assert_int_equal(json_array_size(json), 6);
    json_expect(json, "0", "[0.001,0.0,1,1.0]");
    json_expect(json, "5", "[0.001,1.0,1,null]");
    json_decref(json);
}

/* 1,000 values: after nine halvings at least one is left, after ten none. */
static void test_a_spectrum_has_five_steps_a_halving(void **state)
{
    (void)state;
    json_t *json = series_json_spectrum(histogram_of(1000));
    assert_int_equal(json_array_size(json), 10 * 5 + 1);
    json_expect(json, "5", "[0.5,0.5,500,2.0]");
    json_expect(json, "6", "[0.55,0.55,550,2.22222222222]");
    json_expect(json, "10", "[0.75,0.75,750,4.0]");
    json_expect(json, "50", "[1.0,1.0,1000,null]");
    json_decref(json);
}

static void test_a_spectrum_never_falls(void **state)
{
    (void)state;
    json_t *json = series_json_spectrum(histogram_of(777));
    for (size_t i = 1; i < json_array_size(json); i++) {
        const json_t *before = json_array_get(json, i - 1);
        const json_t *now = json_array_get(json, i);
        assert_true(json_number_at(now, "0") >= json_number_at(before, "0"));
        assert_true(json_number_at(now, "1") > json_number_at(before, "1"));
        assert_true(json_number_at(now, "2") >= json_number_at(before, "2"));
        assert_in_range(json_number_at(now, "2"), 1, 777);
        /* each is the value of its rank: the i-th is i us */
        assert_true(fabs(json_number_at(now, "0") * 1000 - json_number_at(now, "2")) < 1e-6);
    }
    json_decref(json);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_there_are_slots_until_the_last_requests_end),
        TEST(test_an_empty_run_is_zeros_and_nulls),
        TEST(test_a_slot_has_its_own_figures),
        TEST(test_the_slots_add_up_to_the_ledger),
        TEST(test_a_look_stands_in_the_slot_of_its_moment),
        TEST(test_what_a_look_lacks_is_null),
        TEST(test_without_an_admin_port_no_look_is_shown),
        TEST(test_of_several_looks_the_worst_is_shown),
        cmocka_unit_test(test_the_spectrum_of_nothing_and_of_one),
        cmocka_unit_test(test_a_spectrum_has_five_steps_a_halving),
        cmocka_unit_test(test_a_spectrum_never_falls),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
