/* The lines on stderr while a run lasts, into memory: whole, cut, written over, taken away. */
#include "loadtest/live_view.h"

#include "support.h"

#include <math.h>

enum { TERMINAL_COLUMNS = 79 }; /* of what is no terminal */

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

/* What a look adds to what was there. */
static const char *look(struct fixture *fixture)
{
    size_t before = fixture->size_bytes;
    fixture->watch.look(fixture->watch.argument, &fixture->moment);
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
    live->window_s = 0.5;
    live->window_scheduled = 10;
    live->window_outcomes[OUTCOME_OK] = 9;
    live->window_outcomes[OUTCOME_TIMEOUT] = 2;
    coarse_histogram_record_ns(&live->window_response, 50 * CLOCK_NS_PER_US);
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
    assert_begins(look(fixture), "   2.3 s  46/200  40 ok  3 failed  3 in flight");
    fixture->settings.closed = 5; /* of how many nobody knows */
    assert_begins(look(fixture), "   2.3 s  46  40 ok  3 failed  3 in flight");
    fixture->moment.elapsed_s = -0.02; /* before the schedule's zero */
    fixture->view.label = "cell: ";
    assert_begins(look(fixture), "cell:    0.0 s  46  40 ok  3 failed  3 in flight");
}

static void test_the_latest_second(void **state)
{
    struct fixture *fixture = *state;
    add_second(fixture);
    assert_string_equal(strchr(look(fixture), '|'), "| 20 req/s, 18 ok, 4 timeout; p99 50 us\n");
    fixture->moment.live.window_response = (struct coarse_histogram){.count = 0};
    assert_string_equal(strchr(look(fixture), '|'), "| 20 req/s, 18 ok, 4 timeout\n");
}

static void test_the_service(void **state)
{
    struct fixture *fixture = *state;
    add_second(fixture);
    add_service(fixture);
    assert_non_null(strstr(look(fixture), "50 us | pool 20/20, 280 waiting, 305 threads\n"));
    fixture->moment.service_state = SCRAPE_DOWN;
    assert_non_null(strstr(look(fixture), "50 us | service down\n"));
    fixture->moment.service_state = SCRAPE_NEVER;
    assert_non_null(strstr(look(fixture), "50 us\n"));
    fixture->moment.service_state = SCRAPE_UP;
    fixture->moment.service.pool_max = (double)NAN; /* a page without it */
    assert_null(strstr(look(fixture), "pool"));
}

static void test_a_terminal_has_its_lines_written_over(void **state)
{
    struct fixture *fixture = *state;
    add_second(fixture);
    fixture->view.is_terminal = true;
    static const char lines[] = "   2.3 s  46/200  40 ok  3 failed  3 in flight\033[K\n"
                                "          20 req/s, 18 ok, 4 timeout; p99 50 us\033[K\n";
    assert_string_equal(look(fixture), lines);
    assert_int_equal(fixture->view.lines_shown, 2);
    const char *second = look(fixture);
    assert_ptr_equal(strstr(second, "\033[2A\r\033[J"), second); /* up two, and away with it */
    assert_string_equal(second + strlen("\033[2A\r\033[J"), lines);
    assert_begins(look(fixture), "\033[2A\r\033[J"); /* not four */
}

/* One that is too long would wrap, and be written over in part. */
static void test_a_terminals_lines_are_cut_to_its_width(void **state)
{
    struct fixture *fixture = *state;
    add_second(fixture);
    add_service(fixture);
    fixture->moment.live.window_outcomes[OUTCOME_CONNECT_ERROR] = 7;
    assert_non_null(strstr(look(fixture), "305 threads\n")); /* whole elsewhere */
    fixture->view.is_terminal = true;
    const char *second = strchr(look(fixture), '\n') + 1;
    assert_int_equal(strcspn(second, "\033"), TERMINAL_COLUMNS);
    assert_string_equal(second + TERMINAL_COLUMNS, "\033[K\n");
}

static void test_the_lines_are_taken_away_once(void **state)
{
    struct fixture *fixture = *state;
    fixture->view.is_terminal = true;
    look(fixture);
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
    look(fixture);
    look(fixture);
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
