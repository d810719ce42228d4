/* The runs of `loadtest serve`, against a server on loopback and a folder of the test's own: one
 * run at a time, snapshots of it, its end, and its record. */
#include "loadtest/serve/run_control.h"

#include "tests/support/json_expect.h"
#include "tests/support/loopback.h"
#include "tests/support/support.h"

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#define QUIET "process_start_time_seconds 1000\n"
/* The length of a run that no test waits for. */
#define LONG_S 600

struct fixture {
    struct loopback server;
    struct loopback admin;
    char folder[32];
    struct run_store *store;
    struct run_control *control;
    struct test_plan plan;
    char id[RUN_ID_SIZE];
    char why[512];
};

static int64_t patience(void)
{
    return clock_now_ns() + TEST_PATIENCE_NS;
}

static void aim_at(struct fixture *fixture, const char *url)
{
    struct target *target = &fixture->plan.load.target;
    if (!target_parse(target, url, fixture->why, sizeof fixture->why) ||
        !target_resolve(target, fixture->why, sizeof fixture->why))
        fail_msg("%s", fixture->why);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct load_settings *settings = &fixture->plan.load;
    loopback_start(&fixture->server, NULL);
    loopback_start(&fixture->admin, NULL);
    loopback_reply(&fixture->server, "GET /v1/feeds/*", 200, "{}");
    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/flashover-runs-XXXXXX");
    fixture->store = run_store_open(mkdtemp(fixture->folder), 10, fixture->why, 512);
    *settings = (struct load_settings){.check = LOAD_CHECK_STATUS,
                                       .timeout_ns = TEST_PATIENCE_NS,
                                       .max_in_flight = 100,
                                       .threads = 1};
    aim_at(fixture, fixture->server.url);
    schedule_init(&settings->schedule, 50, LONG_S, 1);
    assert_true(slo_parse(&fixture->plan.slos, SLO_DEFAULT, fixture->why, 512));
    fixture->control = run_control_new(fixture->store, &settings->target, NULL, NULL);
    *state = fixture;
    return fixture->store && fixture->control ? 0 : -1;
}

static int is_file(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    struct dirent **files;
    struct run_totals totals;
    run_control_totals(fixture->control, &totals);
    if (totals.running) /* a test that failed has left it */
        run_control_close(fixture->control, SIGTERM, patience());
    else
        run_control_release(fixture->control);
    run_control_free(fixture->control);
    run_store_close(fixture->store);
    for (int left = scandir(fixture->folder, &files, is_file, alphasort); left > 0; left--) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", fixture->folder, files[left - 1]->d_name);
        unlink(path);
        free(files[left - 1]);
        if (left == 1)
            free(files);
    }
    rmdir(fixture->folder);
    loopback_stop(&fixture->server);
    loopback_stop(&fixture->admin);
    free(fixture);
    return 0;
}

/* Makes runs watch the admin server while they load the other one. */
static void watch(struct fixture *fixture)
{
    run_control_free(fixture->control);
    fixture->control =
        run_control_new(fixture->store, &fixture->plan.load.target, fixture->admin.url, NULL);
    assert_non_null(fixture->control);
}

static enum run_control_outcome reserve(struct fixture *fixture, char running[RUN_ID_SIZE])
{
    return run_control_reserve(fixture->control, running);
}

static enum run_control_outcome start(struct fixture *fixture)
{
    json_t *asked = json_pack("{s:i}", "rate", 50);
    enum run_control_outcome outcome = run_control_start(
        fixture->control, &fixture->plan, asked, fixture->id, fixture->why, sizeof fixture->why);
    json_decref(asked);
    return outcome;
}

static void run(struct fixture *fixture)
{
    char running[RUN_ID_SIZE];
    assert_int_equal(reserve(fixture, running), RUN_CONTROL_OK);
    if (start(fixture) != RUN_CONTROL_OK)
        fail_msg("%s", fixture->why);
}

static enum run_control_outcome snapshot(struct fixture *fixture, uint64_t seen,
                                         struct run_live *live)
{
    return run_control_snapshot(fixture->control, fixture->id, seen, patience(), live);
}

static enum run_control_outcome stop_it(struct fixture *fixture, int64_t deadline_ns)
{
    return run_control_stop(fixture->control, fixture->id, deadline_ns);
}

/* The run's record; the caller frees it. */
static json_t *record_of(struct fixture *fixture)
{
    json_t *record = run_store_load(fixture->store, fixture->id);
    assert_non_null(record);
    return record;
}

static struct run_totals totals_of(struct fixture *fixture)
{
    struct run_totals totals;
    run_control_totals(fixture->control, &totals);
    return totals;
}

/* Checks the verdict of the run that has ended, in its record and in the totals. On a machine too
 * busy to keep the schedule, the run may be INVALID instead. */
static void assert_verdict(struct fixture *fixture, enum exit_code expected)
{
    json_t *record = record_of(fixture);
    const char *word = json_text_at(record, "verdict.status");
    size_t code = (size_t)json_number_at(record, "verdict.exit_code");
    assert_string_equal(json_text_at(record, "state"), RUN_STATE_FINISHED);
    if (code != EXIT_INVALID)
        assert_int_equal(code, expected);
    assert_string_equal(word, verdict_word((enum exit_code)code));
    json_decref(record);
    assert_in_range(totals_of(fixture).runs[code], 1, 2);
}

static void test_a_run_to_its_end(void **state)
{
    struct fixture *fixture = *state;
    struct run_live live;
    uint64_t seen = 0;
    schedule_init(&fixture->plan.load.schedule, 50, 0.6, 1);
    run(fixture);
    while (snapshot(fixture, seen, &live) == RUN_CONTROL_OK) {
        assert_true(live.updates > seen);
        assert_int_equal(live.planned, 30);
        assert_false(live.stopping);
        assert_int_equal(live.service_state, SCRAPE_NEVER);
        seen = live.updates;
    }
    assert_true(seen > 0);
    assert_verdict(fixture, EXIT_PASS);
    json_t *record = record_of(fixture);
    assert_true(json_number_at(record, "ledger.ok") == 30);
    assert_true(json_number_at(record, "asked.rate") == 50);
    json_expect(record, "service", "null");
    json_decref(record);
    struct run_totals totals = totals_of(fixture);
    assert_false(totals.running);
    assert_int_equal(totals.outcomes[OUTCOME_OK], 30);
    assert_int_equal(totals.in_flight, 0);
    assert_true(totals.has_p99 && totals.p99_s > 0);
    assert_int_equal(loopback_asked(&fixture->server, "GET /v1/feeds/*"), 30);
}

static void test_a_run_that_fails_is_kept_as_well(void **state)
{
    struct fixture *fixture = *state;
    struct run_live live;
    loopback_reply(&fixture->server, "GET /v1/feeds/*", 503, ""); /* after one 200 */
    for (unsigned i = 1; i <= 2; i++) {
        schedule_init(&fixture->plan.load.schedule, 50, 0.1, 1);
        run(fixture);
        while (snapshot(fixture, UINT64_MAX, &live) == RUN_CONTROL_OK)
            ;
        assert_verdict(fixture, EXIT_THRESHOLD);
        struct run_totals totals = totals_of(fixture);
        assert_int_equal(totals.runs[EXIT_THRESHOLD] + totals.runs[EXIT_INVALID], i);
        assert_int_equal(totals.outcomes[OUTCOME_OK] + totals.outcomes[OUTCOME_HTTP_ERROR],
                         (size_t)i * 5);
    }
}

static void test_there_is_one_place(void **state)
{
    struct fixture *fixture = *state;
    char running[RUN_ID_SIZE];
    assert_int_equal(reserve(fixture, running), RUN_CONTROL_OK);
    assert_int_equal(reserve(fixture, running), RUN_CONTROL_BUSY);
    assert_string_equal(running, ""); /* not started yet */
    assert_false(totals_of(fixture).running);
    run_control_release(fixture->control);
    run(fixture);
    assert_int_equal(reserve(fixture, running), RUN_CONTROL_BUSY);
    assert_string_equal(running, fixture->id);
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
    assert_int_equal(reserve(fixture, running), RUN_CONTROL_OK);
    run_control_release(fixture->control);
}

static void test_a_stop_waits_until_the_run_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct run_live live;
    run(fixture);
    assert_int_equal(snapshot(fixture, 0, &live), RUN_CONTROL_OK);
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
    json_t *record = record_of(fixture);
    assert_string_equal(json_text_at(record, "state"), RUN_STATE_FINISHED);
    assert_string_equal(json_text_at(record, "verdict.status"), "STOPPED");
    assert_true(json_number_at(record, "verdict.exit_code") == EXIT_STOPPED_BY_REST);
    json_decref(record);
    assert_int_equal(totals_of(fixture).runs[EXIT_STOPPED_BY_REST], 1);
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OVER);
    assert_int_equal(snapshot(fixture, 0, &live), RUN_CONTROL_OVER);
}

static void test_another_runs_id_stops_and_shows_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct run_live live;
    static const char *const others[] = {"", "20260101T000000000Z-00000000"};
    run(fixture);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(run_control_stop(fixture->control, others[i], patience()),
                         RUN_CONTROL_OVER);
        assert_int_equal(run_control_snapshot(fixture->control, others[i], 0, patience(), &live),
                         RUN_CONTROL_OVER);
    }
    assert_int_equal(snapshot(fixture, 0, &live), RUN_CONTROL_OK);
    assert_false(live.stopping);
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
}

static void test_a_look_ends_at_its_deadline(void **state)
{
    struct fixture *fixture = *state;
    struct run_live live;
    run(fixture);
    int64_t deadline_ns = clock_now_ns() + 20 * CLOCK_NS_PER_MS;
    assert_int_equal(
        run_control_snapshot(fixture->control, fixture->id, UINT64_MAX, deadline_ns, &live),
        RUN_CONTROL_OK);
    assert_true(clock_now_ns() >= deadline_ns);
    assert_int_equal(live.planned, 50 * LONG_S); /* known before the first look */
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
}

/* The service's admin port does not answer, and the run's end waits for it. */
static void test_a_stop_ends_at_its_deadline(void **state)
{
    struct fixture *fixture = *state;
    struct run_live live;
    char running[RUN_ID_SIZE];
    watch(fixture);
    loopback_reply(&fixture->admin, "GET /metrics", 200, QUIET);
    run(fixture);
    loopback_hold(&fixture->admin, true);
    assert_int_equal(stop_it(fixture, clock_now_ns()), RUN_CONTROL_BUSY);
    assert_int_equal(
        run_control_snapshot(fixture->control, fixture->id, UINT64_MAX, clock_now_ns(), &live),
        RUN_CONTROL_OK);
    assert_true(live.stopping);
    assert_int_equal(reserve(fixture, running), RUN_CONTROL_BUSY);
    loopback_hold(&fixture->admin, false);
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
}

static void test_totals_count_the_run_under_way(void **state)
{
    struct fixture *fixture = *state;
    loopback_hold(&fixture->server, true);
    run(fixture);
    wait_until(totals_of(fixture).in_flight >= 5);
    assert_true(totals_of(fixture).running);
    assert_false(totals_of(fixture).has_p99);
    loopback_hold(&fixture->server, false);
    wait_until(totals_of(fixture).outcomes[OUTCOME_OK] >= 5);
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
    struct run_totals totals = totals_of(fixture);
    json_t *record = record_of(fixture);
    assert_int_equal(totals.outcomes[OUTCOME_OK], json_number_at(record, "ledger.ok"));
    assert_int_equal(totals.outcomes[OUTCOME_IN_FLIGHT_AT_END],
                     json_number_at(record, "ledger.in_flight_at_end"));
    json_decref(record);
    assert_int_equal(totals.in_flight, 0);
    assert_false(totals.running);
    assert_true(totals.has_p99);
}

static void test_a_closed_loop_has_no_plan(void **state)
{
    struct fixture *fixture = *state;
    struct run_live live;
    fixture->plan.load.closed = 2;
    run(fixture);
    assert_int_equal(snapshot(fixture, 0, &live), RUN_CONTROL_OK);
    assert_int_equal(live.planned, 0);
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
}

static void test_the_service_is_watched_meanwhile(void **state)
{
    struct fixture *fixture = *state;
    struct run_live live;
    watch(fixture);
    loopback_reply(&fixture->admin, "GET /metrics", 200, QUIET "db_client_connection_max 20\n");
    run(fixture);
    assert_int_equal(snapshot(fixture, 0, &live), RUN_CONTROL_OK);
    assert_int_equal(live.service_state, SCRAPE_UP);
    assert_true(live.service.pool_max == 20);
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
    json_t *record = record_of(fixture);
    assert_true(json_number_at(record, "service.pool_max") == 20);
    assert_true(json_number_at(record, "crashes") == 0);
    json_decref(record);
}

/* A load on another target shows nothing about the service. */
static void test_another_target_is_not_watched(void **state)
{
    struct fixture *fixture = *state;
    struct target own = fixture->plan.load.target;
    struct loopback other;
    loopback_start(&other, NULL);
    run_control_free(fixture->control);
    fixture->control = run_control_new(fixture->store, &own, fixture->admin.url, NULL);
    aim_at(fixture, other.url);
    run(fixture);
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
    json_t *record = record_of(fixture);
    json_expect(record, "service", "null");
    json_decref(record);
    assert_int_equal(loopback_asked(&fixture->admin, "GET /metrics"), 0);
    loopback_stop(&other);
}

static void test_a_wrong_admin_port_starts_nothing(void **state)
{
    struct fixture *fixture = *state;
    char running[RUN_ID_SIZE];
    watch(fixture);
    loopback_reply(&fixture->admin, "GET /metrics", 401, "");
    loopback_reply(&fixture->admin, "GET /metrics", 200, QUIET);
    assert_int_equal(reserve(fixture, running), RUN_CONTROL_OK);
    assert_int_equal(start(fixture), RUN_CONTROL_UNWATCHED);
    assert_ptr_equal(strstr(fixture->why, "admin-url: "), fixture->why);
    json_t *list = run_store_list(fixture->store);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
    run(fixture); /* the place is free again */
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
}

static void test_a_disk_that_refuses_starts_nothing(void **state)
{
    struct fixture *fixture = *state;
    char running[RUN_ID_SIZE];
    char away[40];
    snprintf(away, sizeof away, "%s-away", fixture->folder);
    watch(fixture);
    loopback_reply(&fixture->admin, "GET /metrics", 200, QUIET);
    assert_int_equal(rename(fixture->folder, away), 0);
    assert_int_equal(reserve(fixture, running), RUN_CONTROL_OK);
    assert_int_equal(start(fixture), RUN_CONTROL_TROUBLE);
    assert_non_null(strstr(fixture->why, "cannot write"));
    assert_int_equal(loopback_asked(&fixture->server, "GET /v1/feeds/*"), 0);
    assert_int_equal(rename(away, fixture->folder), 0);
    run(fixture);
    assert_int_equal(stop_it(fixture, patience()), RUN_CONTROL_OK);
}

static void test_the_programs_end_stops_the_run(void **state)
{
    struct fixture *fixture = *state;
    char running[RUN_ID_SIZE];
    run(fixture);
    assert_true(run_control_close(fixture->control, SIGTERM, patience()));
    json_t *record = record_of(fixture);
    assert_string_equal(json_text_at(record, "state"), RUN_STATE_FINISHED);
    assert_true(json_number_at(record, "verdict.exit_code") == EXIT_SIGNAL);
    json_decref(record);
    assert_int_equal(reserve(fixture, running), RUN_CONTROL_CLOSED);
    assert_true(run_control_close(fixture->control, SIGTERM, clock_now_ns()));
}

static void test_the_programs_end_meets_a_run_about_to_start(void **state)
{
    struct fixture *fixture = *state;
    char running[RUN_ID_SIZE];
    assert_int_equal(reserve(fixture, running), RUN_CONTROL_OK);
    assert_false(run_control_close(fixture->control, SIGTERM, clock_now_ns()));
    assert_int_equal(start(fixture), RUN_CONTROL_CLOSED);
    assert_string_equal(fixture->why, "the load tester is stopping");
    json_t *list = run_store_list(fixture->store);
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(json_text_at(list, "0.state"), RUN_STATE_FAILED);
    json_decref(list);
    assert_int_equal(loopback_asked(&fixture->server, "GET /v1/feeds/*"), 0);
    assert_true(run_control_close(fixture->control, SIGTERM, clock_now_ns()));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_run_to_its_end),
        TEST(test_a_run_that_fails_is_kept_as_well),
        TEST(test_there_is_one_place),
        TEST(test_a_stop_waits_until_the_run_is_kept),
        TEST(test_another_runs_id_stops_and_shows_nothing),
        TEST(test_a_look_ends_at_its_deadline),
        TEST(test_a_stop_ends_at_its_deadline),
        TEST(test_totals_count_the_run_under_way),
        TEST(test_a_closed_loop_has_no_plan),
        TEST(test_the_service_is_watched_meanwhile),
        TEST(test_another_target_is_not_watched),
        TEST(test_a_wrong_admin_port_starts_nothing),
        TEST(test_a_disk_that_refuses_starts_nothing),
        TEST(test_the_programs_end_stops_the_run),
        TEST(test_the_programs_end_meets_a_run_about_to_start),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
