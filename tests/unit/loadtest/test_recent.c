/* The figures of the last second, in runs of a minute and of a day alike. The test moves the clock.
 */
#include "loadtest/books/load_stats.h"

#include "tests/support/support.h"

#include "common/clock.h"

#define MS CLOCK_NS_PER_MS
#define S  CLOCK_NS_PER_S

static void book(struct load_stats *stats, int64_t at_ns, int64_t waited_ns, enum outcome outcome)
{
    const struct request_end end = {.outcome = outcome,
                                    .start_ns = 0,
                                    .intended_ns = at_ns - waited_ns,
                                    .sent_ns = at_ns - waited_ns,
                                    .first_byte_ns = at_ns,
                                    .at_ns = at_ns,
                                    .timeout_ns = 2 * S};
    struct recent_slot *slot = recent_slot_at(&stats->recent, end.intended_ns);
    if (slot)
        slot->scheduled++;
    load_stats_end(stats, &end);
}

static struct recent_figures figures_at(const struct load_stats *stats, int64_t at_ns)
{
    struct recent_figures figures = {0};
    recent_add(&stats->recent, at_ns, &figures);
    return figures;
}

/* 20 requests a second, of which one in ten gets no answer, looked at now and then. */
static void test_schedules_of_every_length(void **state)
{
    static const int64_t spans_s[] = {1, 120, 600, 601, 2400, 86400};
    static struct load_stats stats;
    (void)state;
    for (size_t i = 0; i < sizeof spans_s / sizeof spans_s[0]; i++) {
        assert_true(load_stats_init(&stats, spans_s[i] * S));
        int64_t from_ns = spans_s[i] > 10 ? (spans_s[i] - 10) * S : 0;
        for (int64_t at_ns = from_ns + 50 * MS, n = 0; at_ns < spans_s[i] * S;
             at_ns += 50 * MS, n++)
            book(&stats, at_ns, 5 * MS, n % 10 == 9 ? OUTCOME_TIMEOUT : OUTCOME_OK);
        struct recent_figures figures = figures_at(&stats, spans_s[i] * S);
        assert_true(figures.window_s == 1);
        assert_in_range(figures.scheduled, 19, 20);
        assert_in_range(figures.outcomes[OUTCOME_OK], 17, 18);
        assert_in_range(figures.outcomes[OUTCOME_OK] + figures.outcomes[OUTCOME_TIMEOUT], 19, 20);
        assert_in_range(coarse_histogram_percentile_us(&figures.response, 50), 5000, 5200);
        assert_true(figures.censored_from_ns == 2 * S); /* the timeouts' */
        load_stats_destroy(&stats);
    }
}

static void test_the_first_second_is_shorter(void **state)
{
    static struct load_stats stats;
    (void)state;
    assert_true(load_stats_init(&stats, 60 * S));
    book(&stats, 10 * MS, MS, OUTCOME_OK);
    assert_true(figures_at(&stats, 249 * MS).window_s == 0); /* no slot is over */
    assert_true(figures_at(&stats, 250 * MS).window_s == 0.25);
    assert_int_equal(figures_at(&stats, 250 * MS).outcomes[OUTCOME_OK], 1);
    assert_true(figures_at(&stats, 999 * MS).window_s == 0.75);
    load_stats_destroy(&stats);
}

/* What is older than the window is gone, also where nothing has happened since. */
static void test_silence_is_seen(void **state)
{
    static struct load_stats stats;
    (void)state;
    assert_true(load_stats_init(&stats, 60 * S));
    book(&stats, 1010 * MS, MS, OUTCOME_OK);
    assert_int_equal(figures_at(&stats, 1250 * MS).outcomes[OUTCOME_OK], 1);
    assert_int_equal(figures_at(&stats, 2249 * MS).outcomes[OUTCOME_OK], 1);
    for (int64_t at_ns = 2250 * MS; at_ns < 20 * S; at_ns += 250 * MS) {
        assert_int_equal(figures_at(&stats, at_ns).outcomes[OUTCOME_OK], 0);
        assert_true(figures_at(&stats, at_ns).window_s == 1);
    }
    load_stats_destroy(&stats);
}

/* A refusal comes at once and says nothing of how long an answer would have taken: its caller has
 * none until its timeout. */
static void test_refusals_make_it_at_least(void **state)
{
    static struct load_stats stats;
    (void)state;
    assert_true(load_stats_init(&stats, 60 * S));
    for (int i = 0; i < 10; i++)
        book(&stats, 1000 * MS + i * MS, MS, i < 5 ? OUTCOME_OK : OUTCOME_CONNECT_ERROR);
    struct recent_figures figures = figures_at(&stats, 1250 * MS);
    assert_true(figures.censored_from_ns == 2 * S);
    assert_true(recent_is_at_least(&figures, 99));
    assert_true(coarse_histogram_percentile_us(&figures.response, 99) >= 2000000);
    assert_false(recent_is_at_least(&figures, 50));
    figures = figures_at(&stats, 3 * S);
    assert_false(recent_is_at_least(&figures, 99));
    load_stats_destroy(&stats);
}

/* A moment that the ring has left is not booked in another's place. */
static void test_what_is_too_old_is_left_out(void **state)
{
    static struct recent recent;
    (void)state;
    assert_non_null(
        recent_slot_at(&recent, -1)); /* a moment before the start counts in the first */
    assert_non_null(recent_slot_at(&recent, 10 * S));
    assert_null(recent_slot_at(&recent, 10 * S - RECENT_SLOTS * RECENT_SLOT_MS * MS));
    assert_non_null(recent_slot_at(&recent, 10 * S - (RECENT_SLOTS - 1) * RECENT_SLOT_MS * MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedules_of_every_length),
        cmocka_unit_test(test_the_first_second_is_shorter),
        cmocka_unit_test(test_silence_is_seen),
        cmocka_unit_test(test_refusals_make_it_at_least),
        cmocka_unit_test(test_what_is_too_old_is_left_out),
    };
    return cmocka_run_group_tests_name("recent", tests, NULL, NULL);
}
