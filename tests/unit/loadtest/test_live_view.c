/* The lines on stderr during a run, here in memory: whole, cut, overwritten, removed. */
#include "loadtest/report/live_view.h"

#include "tests/support/support.h"

#include <math.h>

enum { TERMINAL_COLUMNS = 79 }; /* without a terminal */

struct fixture {
    struct live_view view;
    struct load_watch watch;
    struct load_settings settings;
    struct load_moment moment;
    char *text;
    size_t size_bytes;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    schedule_init(&fixture->settings.schedule, 20, 10, 1);
    fixture->moment = (struct load_moment){.settings = &fixture->settings, .elapsed_s = 2.345};
    struct ledger *ledger = &fixture->moment.live.ledger;
    ledger->scheduled = 46;
    ledger->outcomes[OUTCOME_OK] = 40;
    ledger->outcomes[OUTCOME_TIMEOUT] = 2;
    ledger->outcomes[OUTCOME_DROPPED] = 1;
    fixture->moment.live.in_flight = 3;
    fixture->watch = live_view_watch(&fixture->view, "");
    fixture->view.stream = open_memstream(&fixture->text, &fixture->size_bytes);
    fixture->view.is_terminal = false;
    *state = fixture;
    return fixture->view.stream ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    fclose(fixture->view.stream);
    free(fixture->text);
    free(fixture);
    return 0;
}

/* Returns what one look prints. */
static const char *show(struct fixture *fixture)
{
    size_t before = fixture->size_bytes;
    fixture->watch.on_progress(fixture->watch.argument, &fixture->moment);
    return fixture->text + before;
}

static void assert_begins(const char *text, const char *expected)
{
    if (strncmp(text, expected, strlen(expected)) != 0)
        fail_msg("'%s' does not begin with '%s'", text, expected);
}

static void add_second(struct fixture *fixture)
{
    struct load_live *live = &fixture->moment.live;
    live->latest.window_s = 0.5;
    live->latest.scheduled = 10;
    live->latest.outcomes[OUTCOME_OK] = 9;
    live->latest.outcomes[OUTCOME_TIMEOUT] = 2;
    coarse_histogram_record_ns(&live->latest.response, 50 * CLOCK_NS_PER_US);
}

static void add_service(struct fixture *fixture)
{
    fixture->moment.service_state = SCRAPE_UP;
    fixture->moment.service = (struct service_sample){
        .pool_used = 20, .pool_max = 20, .pool_pending = 280, .threads = 305};
}

static void test_the_watch_is_for_the_view(void **state)
{
    (void)state;
    struct live_view view;
    struct load_watch watch = live_view_watch(&view, "a: ");
    assert_ptr_equal(watch.argument, &view);
    assert_ptr_equal(view.stream, stderr);
    assert_string_equal(view.label, "a: ");
    assert_int_equal(watch.interval_ns, view.is_terminal ? 200 * CLOCK_NS_PER_MS : CLOCK_NS_PER_S);
}

static void test_totals(void **state)
{
    struct fixture *fixture = *state;
    assert_begins(show(fixture), "   2.3 s  46/200  40 ok  3 failed  3 in flight");
    fixture->settings.closed = 5; /* the total is unknown */
    assert_begins(show(fixture), "   2.3 s  46  40 ok  3 failed  3 in flight");
    fixture->moment.elapsed_s = -0.02; /* before the schedule's zero */
    fixture->view.label = "cell: ";
    assert_begins(show(fixture), "cell:    0.0 s  46  40 ok  3 failed  3 in flight");
}

static void test_the_latest_second(void **state)
{
    struct fixture *fixture = *state;
    add_second(fixture);
    assert_string_equal(strchr(show(fixture), '|'), "| 20 req/s, 18 ok, 4 timeout; p99 50 us\n");
    fixture->moment.live.latest.response = (struct coarse_histogram){.count = 0};
    assert_string_equal(strchr(show(fixture), '|'), "| 20 req/s, 18 ok, 4 timeout\n");
}

static void test_the_service(void **state)
{
    struct fixture *fixture = *state;
    add_second(fixture);
    add_service(fixture);
    assert_non_null(strstr(show(fixture), "50 us | pool 20/20, 280 waiting, 305 threads\n"));
    fixture->moment.service_state = SCRAPE_DOWN;
    assert_non_null(strstr(show(fixture), "50 us | service down\n"));
    fixture->moment.service_state = SCRAPE_NEVER;
    assert_non_null(strstr(show(fixture), "50 us\n"));
    fixture->moment.service_state = SCRAPE_UP;
    fixture->moment.service.pool_max = (double)NAN; /* missing on the page */
    assert_null(strstr(show(fixture), "pool"));
}

static void test_a_terminal_has_its_lines_written_over(void **state)
{
    struct fixture *fixture = *state;
    add_second(fixture);
    fixture->view.is_terminal = true;
    static const char lines[] = "   2.3 s  46/200  40 ok  3 failed  3 in flight\033[K\n"
                                "          20 req/s, 18 ok, 4 timeout; p99 50 us\033[K\n";
    assert_string_equal(show(fixture), lines);
    assert_int_equal(fixture->view.lines_shown, 2);
    const char *second = show(fixture);
    assert_ptr_equal(strstr(second, "\033[2A\r\033[J"), second); /* up two lines, then clear */
    assert_string_equal(second + strlen("\033[2A\r\033[J"), lines);
    assert_begins(show(fixture), "\033[2A\r\033[J"); /* two again, not four */
}

/* A longer line would wrap, and only a part of it would be overwritten. */
static void test_a_terminals_lines_are_cut_to_its_width(void **state)
{
    struct fixture *fixture = *state;
    add_second(fixture);
    add_service(fixture);
    for (enum outcome outcome = 0; outcome < OUTCOME_COUNT; outcome++)
        fixture->moment.live.latest.outcomes[outcome] = 7;
    assert_non_null(strstr(show(fixture), "305 threads\n")); /* elsewhere they are whole */
    fixture->view.is_terminal = true;
    const char *second = strchr(show(fixture), '\n') + 1;
    assert_int_equal(strcspn(second, "\033"), TERMINAL_COLUMNS);
    /* the pool has a line of its own, however long the one before is */
    assert_string_equal(second + TERMINAL_COLUMNS,
                        "\033[K\n          pool 20/20, 280 waiting, 305 threads\033[K\n");
}

static void test_the_lines_are_taken_away_once(void **state)
{
    struct fixture *fixture = *state;
    fixture->view.is_terminal = true;
    add_second(fixture);
    show(fixture);
    size_t before = fixture->size_bytes;
    live_view_clear(&fixture->view);
    assert_string_equal(fixture->text + before, "\033[2A\r\033[J");
    before = fixture->size_bytes;
    live_view_clear(&fixture->view);
    assert_int_equal(fixture->size_bytes, before);
}

static void test_what_is_no_terminal_keeps_its_lines(void **state)
{
    struct fixture *fixture = *state;
    show(fixture);
    show(fixture);
    live_view_clear(&fixture->view);
    assert_null(strchr(fixture->text, '\033'));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_watch_is_for_the_view),
        TEST(test_totals),
        TEST(test_the_latest_second),
        TEST(test_the_service),
        TEST(test_a_terminal_has_its_lines_written_over),
        TEST(test_a_terminals_lines_are_cut_to_its_width),
        TEST(test_the_lines_are_taken_away_once),
        TEST(test_what_is_no_terminal_keeps_its_lines),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
