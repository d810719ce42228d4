/* Thresholds: how they are read, and the measured value beside each. test_verdict.c tests which
 * runs pass. */
#include "loadtest/judge/slo.h"

#include "tests/support/support.h"

#include <math.h>

static char why[256];

static int parse(struct slo_list *list, const char *text)
{
    why[0] = '\0';
    return slo_parse(list, text, why, sizeof why) ? 0 : -1;
}

static struct slo parsed(const char *text)
{
    struct slo_list list = {.count = 0};
    if (parse(&list, text))
        fail_msg("%s: %s", text, why);
    assert_int_equal(list.count, 1);
    return list.items[0];
}

static void test_metrics_and_operators(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum slo_metric metric;
        enum slo_operator operator;
        double percent, bound;
    } cases[] = {
        {"p(99)<200", SLO_PERCENTILE, SLO_LESS, 99, 200},
        {"p(99.9)<=200", SLO_PERCENTILE, SLO_AT_MOST, 99.9, 200},
        {"p100>1", SLO_PERCENTILE, SLO_MORE, 100, 1},
        {"med>=0.5", SLO_PERCENTILE, SLO_AT_LEAST, 50, 0.5},
        {"avg==7", SLO_MEAN, SLO_EQUAL, 0, 7},
        {"max<8", SLO_LARGEST, SLO_LESS, 0, 8},
        {"failed<9", SLO_FAILURES, SLO_LESS, 0, 9},
        {"reset==0", SLO_OUTCOME, SLO_EQUAL, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slo slo = parsed(cases[i].text);
        assert_string_equal(slo.text, cases[i].text);
        assert_int_equal(slo.metric, cases[i].metric);
        assert_int_equal(slo.operator, cases[i].operator);
        assert_true(slo.percent == cases[i].percent && slo.bound == cases[i].bound);
        assert_false(slo.is_share);
    }
}

static void test_every_outcome_is_a_metric(void **state)
{
    (void)state;
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s<2", ledger_outcome_key((enum outcome)i));
        struct slo slo = parsed(text);
        assert_int_equal(slo.metric, SLO_OUTCOME);
        assert_int_equal(slo.outcome, i);
    }
}

static void test_times_have_units_and_shares_a_percent_sign(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double bound;
        bool is_share;
    } cases[] = {{"p(99)<200ms", 200, false}, {"p(99)<2s", 2000, false}, {"max<1m", 60000, false},
                 {"avg<0.25s", 250, false},   {"ok>99.9%", 99.9, true},  {"ok>=100%", 100, true},
                 {"failed<1000", 1000, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slo slo = parsed(cases[i].text);
        assert_true(fabs(slo.bound - cases[i].bound) < 1e-9);
        assert_int_equal(slo.is_share, cases[i].is_share);
    }
}

static void test_blanks_mean_nothing(void **state)
{
    (void)state;
    struct slo_list list = {.count = 0};
    assert_int_equal(parse(&list, " p(99) < 200 , ok >= 99.9 % "), 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].text, "p(99)<200");
    assert_string_equal(list.items[1].text, "ok>=99.9%");
}

static void test_the_default_is_two_thresholds(void **state)
{
    (void)state;
    struct slo_list list = {.count = 0};
    assert_int_equal(parse(&list, SLO_DEFAULT), 0);
    assert_int_equal(list.count, 2);
    assert_true(slo_names(&list, OUTCOME_WRONG) && slo_names(&list, OUTCOME_OK));
    assert_false(slo_names(&list, OUTCOME_TIMEOUT));
}

/* Neither `failed` nor a time names a single outcome. */
static void test_only_an_outcomes_own_threshold_names_it(void **state)
{
    (void)state;
    struct slo_list list = {.count = 0};
    assert_int_equal(parse(&list, "failed==0,p(99)<1"), 0);
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        assert_false(slo_names(&list, (enum outcome)i));
}

static void test_a_list_is_added_to_until_it_is_full(void **state)
{
    (void)state;
    struct slo_list list = {.count = 0};
    for (size_t i = 0; i < SLO_MAX; i++) {
        assert_int_equal(parse(&list, "ok>0"), 0);
        assert_int_equal(list.count, i + 1);
    }
    assert_int_equal(parse(&list, "ok>0"), -1);
    assert_non_null(strstr(why, "more than 16"));
    assert_int_equal(list.count, SLO_MAX);
}

static void test_long_text_is_refused_and_quoted_in_part(void **state)
{
    (void)state;
    char text[256];
    struct slo_list list = {.count = 0};
    snprintf(text, sizeof text, "ok>%0*d", SLO_TEXT_SIZE - 4, 1);
    assert_int_equal(strlen(text), SLO_TEXT_SIZE - 1);
    assert_int_equal(parse(&list, text), 0);
    assert_string_equal(list.items[0].text, text);
    snprintf(text, sizeof text, "ok>%0*d", SLO_TEXT_SIZE - 3, 1);
    assert_int_equal(parse(&list, text), -1);
    assert_int_equal(list.count, 1);
    snprintf(text, sizeof text, "%0*d", 200, 7);
    assert_int_equal(parse(&list, text), -1);
    assert_non_null(strstr(why, "'0000000000000000000000000000000000000000' is no threshold"));
}

/* 10 requests of 0.1 to 1 ms, where the histogram is exact: 8 right, one error, one never sent. */
static struct load_stats *ten_requests(void)
{
    static struct load_stats stats;
    stats = (struct load_stats){.censored_from_ns = CLOCK_NEVER};
    stats.ledger.scheduled = 10;
    stats.ledger.outcomes[OUTCOME_OK] = 8;
    stats.ledger.outcomes[OUTCOME_HTTP_ERROR] = 1;
    stats.ledger.outcomes[OUTCOME_DROPPED] = 1;
    for (int64_t us = 100; us <= 1000; us += 100)
        histogram_record_us(&stats.response_all, us);
    return &stats;
}

static void assert_measured(const struct load_stats *stats, const char *text, bool expected,
                            const char *words)
{
    char measured[96] = "";
    struct slo slo = parsed(text);
    if (slo_holds(&slo, stats, measured, sizeof measured) != expected)
        fail_msg("%s: %s", text, expected ? "is not kept" : "is kept");
    assert_string_equal(measured, words);
}

static void test_what_was_measured_is_said(void **state)
{
    (void)state;
    const struct load_stats *stats = ten_requests();
    assert_measured(stats, "p(90)<0.9", false, "p(90) is 0.9 ms");
    assert_measured(stats, "p(90)<=0.9", true, "p(90) is 0.9 ms");
    assert_measured(stats, "med==0.5", true, "med is 0.5 ms");
    assert_measured(stats, "avg>0.55", false, "avg is 0.55 ms");
    assert_measured(stats, "avg>=0.55", true, "avg is 0.55 ms");
    assert_measured(stats, "max<1.01ms", true, "max is 1 ms");
    assert_measured(stats, "ok==80%", true, "ok is 80 %");
    assert_measured(stats, "ok>8", false, "ok is 8");
    assert_measured(stats, "failed<2", false, "failed is 2");
    assert_measured(stats, "failed<=20%", true, "failed is 20 %");
    assert_measured(stats, "dropped==1", true, "dropped is 1");
    assert_measured(stats, "timeout>0%", false, "timeout is 0 %");
}

/* One request ended at its timeout of 0.7 ms. From there on only lower bounds are known. */
static void test_a_lower_bound_keeps_no_upper_one(void **state)
{
    (void)state;
    struct load_stats *stats = ten_requests();
    stats->censored_from_ns = 700 * CLOCK_NS_PER_US;
    assert_measured(stats, "p(60)<=0.6", true, "p(60) is 0.6 ms");
    assert_measured(stats, "p(70)<100", false, "p(70) is at least 0.7 ms");
    assert_measured(stats, "p(70)==0.7", false, "p(70) is at least 0.7 ms");
    assert_measured(stats, "p(70)>=0.7", true, "p(70) is at least 0.7 ms");
    assert_measured(stats, "max<=100", false, "max is at least 1 ms");
    assert_measured(stats, "avg<100", false, "avg is at least 0.55 ms");
    assert_measured(stats, "avg>0.5", true, "avg is at least 0.55 ms");
}

static void test_a_run_without_a_request_keeps_to_nothing(void **state)
{
    (void)state;
    static struct load_stats stats = {.censored_from_ns = CLOCK_NEVER};
    assert_measured(&stats, "p(99)>=0", false, "p(99) is 0 ms");
    assert_measured(&stats, "avg==0", false, "avg is 0 ms");
    assert_measured(&stats, "ok>=0", false, "ok is 0");
    assert_measured(&stats, "failed<=100%", false, "failed is 0 %");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_and_operators),
        cmocka_unit_test(test_every_outcome_is_a_metric),
        cmocka_unit_test(test_times_have_units_and_shares_a_percent_sign),
        cmocka_unit_test(test_blanks_mean_nothing),
        cmocka_unit_test(test_the_default_is_two_thresholds),
        cmocka_unit_test(test_only_an_outcomes_own_threshold_names_it),
        cmocka_unit_test(test_a_list_is_added_to_until_it_is_full),
        cmocka_unit_test(test_long_text_is_refused_and_quoted_in_part),
        cmocka_unit_test(test_what_was_measured_is_said),
        cmocka_unit_test(test_a_lower_bound_keeps_no_upper_one),
        cmocka_unit_test(test_a_run_without_a_request_keeps_to_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
