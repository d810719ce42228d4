/* The watch over the service during a load, against scripted pages of metrics: increases of
 * counters, restarts, outages, and ports that are not the service's. */
#include "common/client/scrape.h"

#include "tests/support/loopback.h"
#include "tests/support/support.h"

#include <math.h>
#include <signal.h>
#include <unistd.h>

/* A page of one process, with its start time and its figures. */
#define PAGE(start, timeouts, used, pending)                                                       \
    "process_start_time_seconds " start "\ndb_client_connection_timeouts_total " timeouts          \
    "\ndb_client_connection_count{state=\"used\"} " used                                           \
    "\ndb_client_connection_pending_requests " pending "\n"
#define QUIET PAGE("1000", "0", "0", "0")

struct fixture {
    struct loopback server;
    struct stop stop;
    struct scrape *scrape;
    struct scrape_result result;
    char why[512];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    loopback_start(&fixture->server, NULL);
    *state = fixture;
    return stop_init(&fixture->stop) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    scrape_result_free(&fixture->result);
    stop_destroy(&fixture->stop);
    loopback_stop(&fixture->server);
    free(fixture);
    return 0;
}

static void page(struct fixture *fixture, int status, const char *text)
{
    loopback_reply(&fixture->server, "GET /metrics", status, text);
}

static void start_at(struct fixture *fixture, const char *url)
{
    fixture->scrape = scrape_start(url, NULL, &fixture->stop, fixture->why, sizeof fixture->why);
    if (!fixture->scrape)
        fail_msg("%s", fixture->why);
}

static void start(struct fixture *fixture)
{
    start_at(fixture, fixture->server.url);
}

static void finish_by(struct fixture *fixture, int64_t deadline_ns)
{
    scrape_finish(fixture->scrape, deadline_ns, &fixture->result);
}

static void finish(struct fixture *fixture)
{
    finish_by(fixture, clock_now_ns() + TEST_PATIENCE_NS);
}

/* Lets the thread read every page but the last, which finish() reads. */
static void watch_all_but_the_last(struct fixture *fixture)
{
    start(fixture);
    wait_until(loopback_asked(&fixture->server, "GET /metrics") + 1 >= fixture->server.reply_count);
    finish(fixture);
}

static enum scrape_state state_of(struct fixture *fixture)
{
    struct service_sample latest;
    return scrape_latest(fixture->scrape, &latest);
}

static void assert_refused(struct fixture *fixture, const char *expected)
{
    fixture->scrape =
        scrape_start(fixture->server.url, NULL, &fixture->stop, fixture->why, sizeof fixture->why);
    assert_null(fixture->scrape);
    if (!strstr(fixture->why, expected))
        fail_msg("'%s' is not '%s'", fixture->why, expected);
    assert_ptr_equal(strstr(fixture->why, fixture->server.url), fixture->why);
}

static void test_a_port_that_is_none_of_ours_is_refused(void **state)
{
    struct fixture *fixture = *state;
    page(fixture, 401, QUIET);
    page(fixture, 500, QUIET);
    page(fixture, 200, "go_goroutines 7\n");
    page(fixture, 200, "");
    assert_refused(fixture, "/metrics answered 401, not the service's metrics (see --admin-token");
    assert_refused(fixture, "/metrics answered 500, not the service's metrics");
    assert_null(strstr(fixture->why, "--admin-token"));
    assert_refused(fixture, "/metrics is not the service's metrics");
    assert_refused(fixture, "/metrics is not the service's metrics");
}

static void test_a_token_that_is_none_is_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_null(scrape_start(fixture->server.url, "/proc/none", &fixture->stop, fixture->why,
                             sizeof fixture->why));
    assert_non_null(strstr(fixture->why, "/proc/none"));
}

static void test_nobody_there_is_no_error(void **state)
{
    struct fixture *fixture = *state;
    char url[LOOPBACK_URL_SIZE];
    int fd = loopback_take_port(false, url);
    start_at(fixture, url);
    assert_int_equal(state_of(fixture), SCRAPE_NEVER);
    finish_by(fixture, clock_now_ns());
    const struct scrape_result *result = &fixture->result;
    assert_int_equal(result->samples, 0);
    assert_in_range(result->failed_samples, 2, 10);
    assert_int_equal(result->series->count, result->failed_samples);
    assert_false(result->series->points[0].is_up);
    assert_false(result->down_at_end); /* it never was up */
    assert_true(isnan(result->pool_used_peak) && isnan(scrape_mean_use_s(result)));
    close(fd);
}

static void test_counters_are_what_they_rose_by(void **state)
{
    struct fixture *fixture = *state;
    page(fixture, 200, PAGE("1000", "100", "1", "0"));
    page(fixture, 200, PAGE("1000", "103", "1", "0"));
    page(fixture, 200, PAGE("1000", "110", "1", "0"));
    watch_all_but_the_last(fixture);
    assert_true(fixture->result.timeouts == 10);
    assert_int_equal(fixture->result.restarts, 0);
    assert_int_equal(fixture->result.first_restart_at_ns, 0);
    assert_int_equal(fixture->result.failed_samples, 0);
    assert_in_range(fixture->result.samples, 3, 20);
    assert_false(fixture->result.down_at_end);
    assert_true(fixture->result.last.timeouts == 110);
}

static void test_a_counter_that_appears_began_at_zero(void **state)
{
    struct fixture *fixture = *state;
    page(fixture, 200, QUIET);
    page(fixture, 200, QUIET "flashover_item_failures_total{message=\"read_deadline\"} 4\n");
    start(fixture);
    finish(fixture);
    assert_true(fixture->result.item_failures[ITEM_FAILURE_READ_DEADLINE] == 4);
    assert_true(fixture->result.item_failures[ITEM_FAILURE_OTHER] == 0);
}

/* The first process counts 7. The second counts 5 before the watch notices it, and 2 more. */
static void test_a_new_process_counts_from_zero(void **state)
{
    struct fixture *fixture = *state;
    int64_t began_ns = clock_now_ns();
    page(fixture, 200, PAGE("1000", "100", "0", "0"));
    page(fixture, 200, PAGE("1000", "107", "0", "0"));
    page(fixture, 200, PAGE("1002", "5", "0", "0"));
    page(fixture, 200, PAGE("1002", "7", "0", "0"));
    watch_all_but_the_last(fixture);
    assert_true(fixture->result.timeouts == 14);
    assert_int_equal(fixture->result.restarts, 1);
    assert_in_range(fixture->result.first_restart_at_ns, began_ns, clock_now_ns());
    const struct service_series *series = fixture->result.series;
    assert_int_equal(series->points[1].restarts, 0);
    assert_int_equal(series->points[2].restarts, 1);
}

/* The new process may have counted further than the old one. */
static void test_a_new_process_is_told_by_its_start_alone(void **state)
{
    struct fixture *fixture = *state;
    page(fixture, 200, PAGE("1000.0000", "1", "0", "0"));
    page(fixture, 200, PAGE("1000.0004", "2", "0", "0")); /* the same start, printed anew */
    page(fixture, 200, PAGE("1000.5", "10", "0", "0"));
    watch_all_but_the_last(fixture);
    assert_int_equal(fixture->result.restarts, 1);
    assert_true(fixture->result.timeouts == 11);
}

static void test_an_outage_is_seen_and_is_no_restart(void **state)
{
    struct fixture *fixture = *state;
    page(fixture, 200, PAGE("1000", "1", "0", "0"));
    page(fixture, 503, "");
    page(fixture, 200, PAGE("1000", "3", "0", "0"));
    watch_all_but_the_last(fixture);
    const struct service_series *series = fixture->result.series;
    assert_int_equal(fixture->result.failed_samples, 1);
    assert_int_equal(fixture->result.restarts, 0);
    assert_true(fixture->result.timeouts == 2);
    assert_true(series->points[0].is_up);
    assert_false(series->points[1].is_up);
    assert_true(series->points[2].is_up);
    assert_true(series->points[0].at_ns < series->points[1].at_ns);
}

static void test_the_latest_figures_stay_while_it_is_down(void **state)
{
    struct fixture *fixture = *state;
    struct service_sample latest;
    page(fixture, 200, PAGE("1000", "0", "7", "0"));
    page(fixture, 503, "");
    start(fixture);
    wait_until(state_of(fixture) == SCRAPE_DOWN);
    (void)scrape_latest(fixture->scrape, &latest);
    assert_true(latest.pool_used == 7);
    finish_by(fixture, clock_now_ns());
    assert_true(fixture->result.down_at_end);
}

static void test_a_service_that_comes_back_is_waited_for(void **state)
{
    struct fixture *fixture = *state;
    page(fixture, 200, PAGE("1000", "0", "0", "0"));
    page(fixture, 503, "");
    page(fixture, 503, "");
    page(fixture, 200, PAGE("1009", "0", "0", "0"));
    start(fixture);
    assert_int_equal(state_of(fixture), SCRAPE_UP);
    finish(fixture);
    assert_false(fixture->result.down_at_end);
    assert_int_equal(fixture->result.restarts, 1);
    assert_int_equal(fixture->result.failed_samples, 2);
}

static void test_a_stop_ends_that_wait(void **state)
{
    struct fixture *fixture = *state;
    page(fixture, 200, QUIET);
    page(fixture, 503, "");
    start(fixture);
    stop_request(&fixture->stop, SIGTERM);
    int64_t began_ns = clock_now_ns();
    finish(fixture);
    assert_true(clock_now_ns() - began_ns < TEST_PATIENCE_NS);
    assert_true(fixture->result.down_at_end);
}

static void test_peaks_are_of_all_looks(void **state)
{
    struct fixture *fixture = *state;
    page(fixture, 200, PAGE("1000", "0", "3", "0"));
    page(fixture, 200, PAGE("1000", "0", "20", "1"));
    page(fixture, 200, PAGE("1000", "0", "5", "280"));
    page(fixture, 200, QUIET);
    watch_all_but_the_last(fixture);
    assert_true(fixture->result.pool_used_peak == 20);
    assert_true(fixture->result.pool_pending_peak == 280);
    assert_true(isnan(fixture->result.threads_peak)); /* no page has it */
}

static void test_the_mean_use_is_of_the_load_alone(void **state)
{
    struct fixture *fixture = *state;
#define USE(sum, count)                                                                            \
    QUIET "db_client_connection_use_time_seconds_sum " sum                                         \
          "\ndb_client_connection_use_time_seconds_count " count "\n"
    page(fixture, 200, USE("500", "10"));
    page(fixture, 200, USE("501", "14"));
#undef USE
    start(fixture);
    finish(fixture);
    assert_true(scrape_mean_use_s(&fixture->result) == 0.25);
    fixture->result.use_time_count = 0;
    assert_true(isnan(scrape_mean_use_s(&fixture->result)));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_port_that_is_none_of_ours_is_refused),
        TEST(test_a_token_that_is_none_is_refused),
        TEST(test_nobody_there_is_no_error),
        TEST(test_counters_are_what_they_rose_by),
        TEST(test_a_counter_that_appears_began_at_zero),
        TEST(test_a_new_process_counts_from_zero),
        TEST(test_a_new_process_is_told_by_its_start_alone),
        TEST(test_an_outage_is_seen_and_is_no_restart),
        TEST(test_the_latest_figures_stay_while_it_is_down),
        TEST(test_a_service_that_comes_back_is_waited_for),
        TEST(test_a_stop_ends_that_wait),
        TEST(test_peaks_are_of_all_looks),
        TEST(test_the_mean_use_is_of_the_load_alone),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
