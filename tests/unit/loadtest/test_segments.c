/* The segments of a run that is changed, and a worker's way through them. The run's start is a time
 * of the test's own. */
#include "loadtest/engine/arrival_source.h"

#include "tests/support/support.h"

#include <math.h>
#include <stdlib.h>

#define RATE       100
#define DURATION_S 10

struct fixture {
    struct load_settings settings;
    struct load_segments segments;
    struct load_segment made;
    char why[512];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct load_settings *settings = &fixture->settings;
    char why[128];
    *settings = (struct load_settings){.items = 300,
                                       .threads = 2,
                                       .check = LOAD_CHECK_FEED,
                                       .retry_budget_percent = LOAD_RETRY_BUDGET_NONE};
    schedule_init(&settings->schedule, RATE, DURATION_S, 7);
    bool parsed = target_parse(&settings->target, "http://127.0.0.1:1", why, sizeof why);
    *state = fixture;
    return parsed && load_segments_init(&fixture->segments, settings) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    load_segments_destroy(&fixture->segments);
    free(fixture);
    return 0;
}

/* The run has been under way for so long. */
static void be_at(struct fixture *fixture, double at_s)
{
    load_segments_start(&fixture->segments, clock_now_ns() - (int64_t)(at_s * 1e9));
}

static enum load_change_outcome change(struct fixture *fixture, struct load_change wanted)
{
    fixture->why[0] = '\0';
    return load_segments_change(&fixture->segments, &wanted, &fixture->made, fixture->why,
                                sizeof fixture->why);
}

static void change_rate(struct fixture *fixture, double at_s, double rate_per_s)
{
    be_at(fixture, at_s);
    assert_int_equal(
        change(fixture, (struct load_change){.has_rate = true, .rate_per_s = rate_per_s}),
        LOAD_CHANGE_DONE);
}

static void test_a_change_begins_soon_and_lasts_until_the_end(void **state)
{
    struct fixture *fixture = *state;
    change_rate(fixture, 4, 20);
    const struct load_segment *made = &fixture->made;
    double from_s = (double)made->from_ns / 1e9;
    assert_true(from_s >= 4.2 && from_s < 9);
    assert_true(from_s + made->schedule.duration_s > 9.999 &&
                from_s + made->schedule.duration_s < 10.001);
    assert_int_equal(made->schedule.seed, 8);
    assert_int_equal(load_segments_count(&fixture->segments), 2);
    assert_int_equal(load_segments_at(&fixture->segments, 0)->from_ns, 0);
    assert_int_equal(load_segments_at(&fixture->segments, 1)->from_ns, made->from_ns);
}

static void test_before_the_start_it_counts_from_there(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(change(fixture, (struct load_change){.has_rate = true, .rate_per_s = 5}),
                     LOAD_CHANGE_DONE);
    assert_int_equal(fixture->made.from_ns, LOAD_CHANGE_DELAY_NS);
    load_segments_start(&fixture->segments, clock_now_ns() + CLOCK_NS_PER_S);
    assert_int_equal(change(fixture, (struct load_change){.has_rate = true, .rate_per_s = 6}),
                     LOAD_CHANGE_DONE);
    assert_int_equal(fixture->made.from_ns, LOAD_CHANGE_DELAY_NS);
}

static void test_what_is_not_named_stays(void **state)
{
    struct fixture *fixture = *state;
    be_at(fixture, 2);
    assert_int_equal(change(fixture, (struct load_change){.has_retries = true, .retries = 3}),
                     LOAD_CHANGE_DONE);
    assert_int_equal(fixture->made.retries, 3);
    assert_int_equal(fixture->made.items, 300);
    assert_true(fixture->made.retry_budget_percent == LOAD_RETRY_BUDGET_NONE);
    assert_int_equal(fixture->made.schedule.stage_count, 1);
    assert_true(fixture->made.schedule.stages[0].to_per_s == RATE);
    assert_int_equal(change(fixture, (struct load_change){.has_retry_budget = true,
                                                          .retry_budget_percent = 10,
                                                          .has_items = true,
                                                          .items = 40,
                                                          .has_seed = true,
                                                          .seed = 99}),
                     LOAD_CHANGE_DONE);
    assert_int_equal(fixture->made.retries, 3);
    assert_true(fixture->made.retry_budget_percent == 10);
    assert_int_equal(fixture->made.schedule.seed, 99);
    assert_string_equal(fixture->made.target.url, "http://127.0.0.1:1/v1/feeds/{feed}?items=40");
    assert_int_equal(fixture->made.items, 40);
}

static void test_stages_come_first_and_their_last_rate_holds(void **state)
{
    struct fixture *fixture = *state;
    be_at(fixture, 1);
    assert_int_equal(change(fixture, (struct load_change){.stages = "500/700ms,100/1s"}),
                     LOAD_CHANGE_DONE);
    assert_int_equal(fixture->made.schedule.stage_count, 3);
    assert_true(fixture->made.schedule.stages[2].to_per_s == 100);
}

static void test_what_cannot_be_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        struct load_change change;
        const char *why;
    } cases[] = {
        {{.stages = "20/x"}, "stages: '20/x' is not RATE/TIME"},
        {{.stages = "20/10s"}, "stages: they take 10 s, and "},
        {{.has_rate = true, .rate_per_s = 0.01}, "rate: less than one request"},
        {{.has_rate = true, .rate_per_s = 1e6, .has_arrivals = true, .arrivals = ARRIVALS_POISSON},
         "arrivals: 'poisson' is for at most 1000000 requests"},
    };
    be_at(fixture, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(change(fixture, cases[i].change), LOAD_CHANGE_WRONG);
        if (strncmp(fixture->why, cases[i].why, strlen(cases[i].why)) != 0)
            fail_msg("%s", fixture->why);
    }
    be_at(fixture, DURATION_S - 0.1);
    assert_int_equal(change(fixture, (struct load_change){.has_rate = true, .rate_per_s = 20}),
                     LOAD_CHANGE_TOO_LATE);
    assert_string_equal(fixture->why, "the run is about to end");
    assert_int_equal(load_segments_count(&fixture->segments), 1);
}

static bool at_most_700(const void *context, const struct load_segment *next, uint64_t before,
                        char *why, size_t why_size)
{
    (void)context;
    snprintf(why, why_size, "too many");
    return before + next->schedule.count <= 700;
}

static void test_the_caller_s_limits_hold(void **state)
{
    struct fixture *fixture = *state;
    be_at(fixture, 5); /* 520 are due before the change begins, and 4.8 s are left */
    struct load_change wanted = {.has_rate = true, .rate_per_s = 50, .allows = at_most_700};
    assert_int_equal(change(fixture, wanted), LOAD_CHANGE_WRONG);
    assert_string_equal(fixture->why, "too many");
    wanted.rate_per_s = 25;
    assert_int_equal(change(fixture, wanted), LOAD_CHANGE_DONE);
}

static void test_when_all_workers_are_done_there_is_no_change(void **state)
{
    struct fixture *fixture = *state;
    struct load_segments *segments = &fixture->segments;
    unsigned first = 0;
    unsigned second = 0;
    assert_int_equal(segments->workers, 2);
    assert_false(load_segments_is_over(segments, 0, &first));
    assert_false(load_segments_is_over(segments, 0, &first)); /* it counts once */
    change_rate(fixture, 1, 20);
    assert_false(load_segments_is_over(segments, 0, &second)); /* there is one it has not seen */
    assert_false(load_segments_is_over(segments, 1, &second));
    assert_false(load_segments_is_over(segments, 0, &first)); /* nor has the other one */
    assert_true(load_segments_is_over(segments, 1, &first));
    assert_true(load_segments_is_over(segments, 1, &second));
    assert_int_equal(change(fixture, (struct load_change){.has_rate = true, .rate_per_s = 40}),
                     LOAD_CHANGE_TOO_LATE);
    assert_string_equal(fixture->why, "its last request has been sent");
}

static void test_a_change_that_has_not_begun_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    uint64_t sum = 0;
    be_at(fixture, 1);
    for (int i = 0; i < 200; i++)
        assert_int_equal(change(fixture, (struct load_change){.has_retries = true}),
                         LOAD_CHANGE_DONE);
    for (unsigned i = 0; i < load_segments_count(&fixture->segments); i++)
        sum += load_segments_requests_of(&fixture->segments, i);
    assert_true(sum <= RATE * DURATION_S + 5); /* each that begins has a request at once */
}

static void test_a_rate_that_is_reached_later_is_one(void **state)
{
    struct fixture *fixture = *state;
    be_at(fixture, 1);
    assert_int_equal(change(fixture, (struct load_change){.stages = "0-10/50ms"}),
                     LOAD_CHANGE_DONE);
    assert_true(fixture->made.schedule.expected > 80);
}

static void test_a_status_has_no_items(void **state)
{
    struct fixture *fixture = *state;
    fixture->segments.list[0]->check = LOAD_CHECK_STATUS;
    be_at(fixture, 1);
    assert_int_equal(change(fixture, (struct load_change){.has_items = true, .items = 5}),
                     LOAD_CHANGE_WRONG);
    assert_string_equal(fixture->why, "items: this run checks the status alone");
}

/* Walks the worker's arrivals; counts those of each segment, and checks that each lies within it.
 */
static void walk(struct fixture *fixture, unsigned part, unsigned parts, uint64_t *counts)
{
    struct arrival_source source;
    int64_t last_ns = 0;
    arrival_source_init(&source, &fixture->segments, part, parts);
    while (arrival_source_turn(&source), source.has_next) {
        unsigned index = source.index;
        struct schedule_arrival arrival = arrival_source_take(&source);
        assert_true(arrival.at_ns >= last_ns);
        assert_true(arrival.at_ns >= load_segments_at(&fixture->segments, index)->from_ns);
        if (index + 1 < load_segments_count(&fixture->segments))
            assert_true(arrival.at_ns < load_segments_at(&fixture->segments, index + 1)->from_ns);
        last_ns = arrival.at_ns;
        counts[index]++;
    }
}

static void test_all_workers_turn_at_the_same_moment(void **state)
{
    struct fixture *fixture = *state;
    change_rate(fixture, 3, 7);
    change_rate(fixture, 6, 300);
    change_rate(fixture, 6.1, 40);
    assert_int_equal(load_segments_count(&fixture->segments), 4);
    uint64_t sum = 0;
    for (unsigned parts = 1; parts <= 4; parts++) {
        uint64_t counts[4] = {0};
        for (unsigned part = 0; part < parts; part++)
            walk(fixture, part, parts, counts);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(counts[i], load_segments_requests_of(&fixture->segments, i));
        sum = counts[0] + counts[1] + counts[2] + counts[3];
        uint64_t expected = load_segments_expected(&fixture->segments);
        assert_true(sum + 4 >= expected && sum <= expected + 4);
    }
}

static void test_a_share_is_spread_evenly(void **state)
{
    struct fixture *fixture = *state;
    static const double shares[] = {1, 25, 29, 33.3, 50, 75, 99, 100};
    (void)fixture;
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        struct load_segment segment = {.share_percent = shares[i]};
        uint64_t sent = 0;
        for (uint64_t index = 0; index < 10000; index++) {
            sent += load_segment_sends(&segment, index);
            assert_int_equal(sent, load_segment_sent_of(&segment, index + 1));
            assert_true(fabs((double)sent - (double)(index + 1) * shares[i] / 100) < 1.001);
        }
    }
}

static void test_a_share_counts_in_the_requests(void **state)
{
    struct fixture *fixture = *state;
    be_at(fixture, 4.8);
    assert_int_equal(change(fixture, (struct load_change){.has_share = true, .share_percent = 50}),
                     LOAD_CHANGE_DONE);
    uint64_t first = load_segments_requests_of(&fixture->segments, 0);
    uint64_t rest = fixture->made.schedule.count;
    assert_true(first + rest >= RATE * DURATION_S - 1 && first + rest <= RATE * DURATION_S + 1);
    assert_int_equal(load_segments_requests_of(&fixture->segments, 1), rest / 2);
    uint64_t expected = load_segments_expected(&fixture->segments);
    assert_true(expected + 1 >= first + rest / 2 && expected <= first + rest / 2 + 1);
}

/* A source that is already beyond what it had turns to what comes later. */
static void test_a_source_at_its_end_goes_on_with_a_change(void **state)
{
    struct fixture *fixture = *state;
    struct arrival_source source;
    uint64_t rest = 0;
    arrival_source_init(&source, &fixture->segments, 0, 1);
    while (source.has_next)
        arrival_source_take(&source);
    change_rate(fixture, 5, 20);
    while (arrival_source_turn(&source), source.has_next) {
        arrival_source_take(&source);
        rest++;
    }
    assert_int_equal(rest, fixture->made.schedule.count);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(test_a_change_begins_soon_and_lasts_until_the_end),
        ROW(test_before_the_start_it_counts_from_there),
        ROW(test_what_is_not_named_stays),
        ROW(test_stages_come_first_and_their_last_rate_holds),
        ROW(test_what_cannot_be_changes_nothing),
        ROW(test_the_caller_s_limits_hold),
        ROW(test_when_all_workers_are_done_there_is_no_change),
        ROW(test_a_change_that_has_not_begun_is_replaced),
        ROW(test_a_rate_that_is_reached_later_is_one),
        ROW(test_a_status_has_no_items),
        ROW(test_all_workers_turn_at_the_same_moment),
        ROW(test_a_share_is_spread_evenly),
        ROW(test_a_share_counts_in_the_requests),
        ROW(test_a_source_at_its_end_goes_on_with_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
