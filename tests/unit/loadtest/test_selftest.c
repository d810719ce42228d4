/* The selftest can fail: tests of its comparisons, its paper, its server and its repeats. */
#include "tests/support/support.h"

#include <math.h>

#include "loadtest/selftest/load.h"
#include "loadtest/selftest/queue_path.h"
#include "loadtest/selftest/scenes.h"
#include "loadtest/selftest/selftest.h"
#include "loadtest/selftest/truth.h"

static void test_comparisons_have_two_ends(void **state)
{
    (void)state;
    struct selftest_table table = {0};
    assert_false(selftest_holds(&table)); /* nothing was compared */
    assert_true(selftest_near(&table, "a", 100, 15, 115, "ms"));
    assert_true(selftest_near(&table, "a", 100, 15, 85, "ms"));
    assert_true(selftest_near_late(&table, "a", 100, 30, 15, 120, "ms"));
    assert_true(selftest_between(&table, "a", 1, 2, 1, ""));
    assert_true(selftest_between(&table, "a", 500, INFINITY, 1e9, ""));
    assert_true(selftest_count(&table, "a", UINT64_MAX, UINT64_MAX));
    assert_true(selftest_words(&table, "a", "x", "x"));
    assert_true(selftest_holds(&table));
    assert_string_equal(table.rows[0].expected, "100.0 ms +-15");
    assert_string_equal(table.rows[0].measured, "115.0 ms");
    assert_string_equal(table.rows[4].expected, ">= 500.0");

    assert_false(selftest_near(&table, "a", 100, 15, 115.001, "ms"));
    assert_false(selftest_holds(&table));
    assert_false(selftest_near(&table, "a", 100, 15, 84.999, "ms"));
    assert_false(selftest_near(&table, "a", 100, 15, NAN, "ms"));
    assert_false(selftest_near_late(&table, "a", 100, 30, 15, 114, "ms"));
    assert_false(selftest_between(&table, "a", 1, 2, 2.001, ""));
    assert_false(selftest_between(&table, "a", 1, 2, 0.999, ""));
    assert_false(selftest_between(&table, "a", 1, 2, NAN, ""));
    assert_false(selftest_between(&table, "a", 500, INFINITY, 499, ""));
    assert_false(selftest_count(&table, "a", 5, 6));
    assert_false(selftest_words(&table, "a", "x", "xy"));
    selftest_trouble(&table, "no");
    assert_int_equal(table.count, 18);

    struct text out = {0};
    selftest_table_write(&out, &table);
    assert_non_null(strstr(out.data, "FAIL"));
    text_clear(&out);
    json_t *rows = selftest_table_json(&table);
    assert_int_equal(json_array_size(rows), 18);
    assert_true(json_is_true(json_object_get(json_array_get(rows, 0), "ok")));
    assert_true(json_is_false(json_object_get(json_array_get(rows, 17), "ok")));
    json_decref(rows);
}

static void test_slots_and_stalls_on_paper(void **state)
{
    (void)state;
    struct stall_slots slots = {0};
    struct stall_scene scene = {.service_ns = 10, .stall_from_ns = 100, .stall_until_ns = 200};
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 0, 5), 15); /* no limit at once */
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 1, 5), 15);
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 2, 99), 109);
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 3, 100), 210);
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 4, 199), 210);
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 5, 200), 210);
    scene.slots = 2;
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 0, 5), 15);
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 1, 6), 16);
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 2, 7), 25);
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 3, 7), 26);
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 4, 96), 106);
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 5, 97), 107);
    assert_int_equal(stall_scene_finish_ns(&scene, &slots, 6, 98), 210); /* would begin at 106 */
}

static void test_exponential_times(void **state)
{
    (void)state;
    const struct stall_scene *scene = &selftest_scene_queue;
    double sum = 0;
    unsigned beyond = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        int64_t time_ns = stall_scene_service_ns(scene, i);
        assert_true(time_ns >= 0);
        sum += (double)time_ns / 1e5;
        beyond += time_ns > scene->service_ns;
    }
    assert_true(fabs(sum / (double)scene->service_ns - 1) < 0.02);
    assert_true(fabs(beyond / 1e5 - exp(-1)) < 0.01);
    assert_int_equal(stall_scene_service_ns(scene, 7), stall_scene_service_ns(scene, 7));
}

/* Lindley's recursion and the slot of the server give the same waits. */
static void test_lindley_is_the_slot(void **state)
{
    (void)state;
    static int64_t walked_ns[20000];
    struct stall_slots slots = {0};
    struct schedule schedule;
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    schedule_init(&schedule, 500, 40, 66);
    schedule_set_arrivals(&schedule, ARRIVALS_POISSON);
    queue_path_walk(&schedule, &selftest_scene_queue, walked_ns);
    schedule_cursor_init(&cursor, &schedule, 0, 1);
    while (schedule_next(&cursor, &arrival)) {
        int64_t end_ns =
            stall_scene_finish_ns(&selftest_scene_queue, &slots, arrival.index, arrival.at_ns);
        assert_int_equal(end_ns - arrival.at_ns, walked_ns[arrival.index]);
    }
}

/* The error of the mean of n waits of an M/M/1 queue is known: the variance of n means tends to
 * rho (2 + 5 rho - 4 rho^2 + rho^3) / (1 - rho)^4 / n, in units of the service time (D. J. Daley,
 * The serial correlation coefficients of waiting times in a stationary single server queue, 1968).
 * For rho = 1/2 that is 29 / n. */
static void test_the_spread_knows_that_waits_depend(void **state)
{
    (void)state;
    struct schedule schedule;
    struct queue_figures spread;
    schedule_init(&schedule, 500, 40, 1);
    schedule_set_arrivals(&schedule, ARRIVALS_POISSON);
    assert_true(queue_path_spread(&schedule, &selftest_scene_queue, 100, &spread));
    double independent_ms = 2.0 / sqrt(20000);
    double known_ms = sqrt(29.0 / 20000);
    assert_true(spread.mean > 1.5 * independent_ms);
    /* The number of arrivals is fixed, so they vary a little less. */
    assert_true(spread.mean > 0.7 * known_ms && spread.mean < 1.3 * known_ms);
    assert_true(spread.p99 > spread.mean && spread.p99_9 > spread.p99);
}

static void test_ranks(void **state)
{
    (void)state;
    int64_t sorted_ns[1000];
    for (int i = 0; i < 1000; i++)
        sorted_ns[i] = (i + 1) * CLOCK_NS_PER_MS;
    assert_true(samples_percentile_ms(sorted_ns, 1000, 99.9) == 999);
    assert_true(samples_percentile_ms(sorted_ns, 1000, 100) == 1000);
    assert_true(samples_percentile_ms(sorted_ns, 1000, 0) == 1);
    assert_true(fabs(samples_mean_ms(sorted_ns, 1000) - 500.5) < 1e-9);
    assert_int_equal(samples_longer(sorted_ns, 1000, 990 * CLOCK_NS_PER_MS), 10);
    assert_int_equal(samples_longer(sorted_ns, 1000, 0), 1000);
    assert_int_equal(samples_longer(sorted_ns, 1000, 1000 * CLOCK_NS_PER_MS), 0);
    struct queue_figures figures = queue_figures_of(sorted_ns, 1000);
    assert_true(figures.p99 == 990 && figures.p99_9 == 999);
}

/* The server's bodies have exactly the defects that it declares. */
static void test_bodies(void **state)
{
    (void)state;
    static const struct stall_answer answers[] = {
        {.kind = STALL_RIGHT},
        {.kind = STALL_WRONG, .lost = 2},
        {.kind = STALL_WRONG, .foreign = 3},
        {.kind = STALL_WRONG, .duplicate = 4},
        {.kind = STALL_WRONG, .corrupt = 5},
        {.kind = STALL_WRONG, .lost = 10},
        {.kind = STALL_WRONG, .lost = 1, .foreign = 2, .duplicate = 3, .corrupt = 4},
    };
    const struct stall_scene scene = {.items = 10};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct text out = {0};
        struct feed_defects found = {0};
        const struct feed_defects expected = {.lost = answers[i].lost,
                                              .foreign = answers[i].foreign,
                                              .duplicate = answers[i].duplicate,
                                              .corrupt = answers[i].corrupt};
        const char *first;
        stall_scene_write(&scene, &answers[i], 0, 1000, &out);
        const char *body = strstr(out.data, "\r\n\r\n") + 4;
        bool right = feed_check_body(body, strlen(body), 1000, 10, &found, &first);
        assert_int_equal(right, answers[i].kind == STALL_RIGHT);
        assert_memory_equal(&found, &expected, sizeof found);
        text_clear(&out);
    }
}

static void choose_one_more(uint64_t number, struct stall_answer *answer)
{
    selftest_scene_corrupt.choose(number, answer);
    if (number == 20)
        *answer = (struct stall_answer){.kind = STALL_WRONG, .lost = 1};
}

/* T9 against a server that drops one entry more than the test expects. */
static void test_one_entry_too_many_is_seen(void **state)
{
    (void)state;
    struct stop stop;
    struct stall_scene one_more = selftest_scene_corrupt;
    const struct feed_defects expected = {.lost = 6, .foreign = 4, .duplicate = 6, .corrupt = 8};
    one_more.choose = choose_one_more;
    one_more.items = 20;
    struct stall_scene as_known = one_more;
    as_known.choose = selftest_scene_corrupt.choose;
    assert_true(stop_init(&stop));
    for (int more = 0; more <= 1; more++) {
        struct selftest_table table = {0};
        struct selftest_run run;
        const struct selftest_load load = {.scene = more ? &one_more : &as_known,
                                           .rate_per_s = 200,
                                           .duration_s = 0.2,
                                           .timeout_s = 20};
        assert_true(selftest_load_run(&load, &stop, &table, &run));
        selftest_compare_defects(&table, 10, &expected, &run);
        assert_int_equal(selftest_holds(&table), !more);
        assert_int_equal(table.rows[0].ok, !more); /* wrong answers: 11 */
        assert_true(table.rows[1].ok);             /* as the server counted */
        assert_int_equal(table.rows[2].ok, !more); /* entries lost: 7 */
        assert_true(table.rows[3].ok);
        selftest_run_free(&run);
    }
    stop_destroy(&stop);
}

/* A late server records its delay, and the expected figure moves by exactly that. */
static void test_the_server_knows_how_late_it_was(void **state)
{
    (void)state;
    struct stop stop;
    struct selftest_table table = {0};
    struct selftest_run run;
    struct selftest_truth truth;
    const struct selftest_load load = {.scene = &selftest_scene_steady,
                                       .rate_per_s = 200,
                                       .duration_s = 0.2,
                                       .timeout_s = 20,
                                       .keeps_record = true};
    assert_true(stop_init(&stop));
    assert_true(selftest_load_run(&load, &stop, &table, &run));
    assert_int_equal(run.record->requests, 40);
    for (size_t i = 0; i < run.record->served_count; i++)
        run.record->served[i].answered_ns += 30 * CLOCK_NS_PER_MS;
    assert_true(selftest_truth_init(&truth, &run, &table));
    assert_true(samples_percentile_ms(truth.paper_ns, truth.count, 100) == 1);
    assert_true(selftest_late_ms(&truth, 50) >= 30 && selftest_late_mean_ms(&truth) >= 30);
    selftest_truth_free(&truth);
    run.record->served[7].answered_ns = 0;
    assert_false(selftest_truth_init(&truth, &run, &table));
    assert_false(selftest_holds(&table));
    selftest_run_free(&run);

    stop_request(&stop, STOP_BY_REST); /* a stopped run proves nothing */
    table = (struct selftest_table){0};
    assert_false(selftest_load_run(&load, &stop, &table, &run));
    assert_false(selftest_holds(&table));
    stop_destroy(&stop);
}

/* The number of the attempt, and a script of what each attempt does. */
static unsigned attempt;
static const char *script;

static void play(struct selftest_table *table, const struct stop *stop)
{
    (void)stop;
    char act = script[attempt++];
    selftest_count(table, "a", 1, act == 'f' || act == 'd' ? 2 : 1);
    if (act == 'd')
        table->disturbed_ns = CLOCK_NS_PER_S;
    if (act == 'i')
        snprintf(table->invalid, sizeof table->invalid, "The load tester was late.");
}

static void test_what_is_repeated(void **state)
{
    (void)state;
    /* o: right; f: wrong; d: wrong on a busy machine; i: the load tester's verdict is INVALID */
    static const struct {
        const char *script;
        bool ok;
        unsigned attempts;
    } rows[] = {{"o", true, 1},    {"f", false, 1},   {"io", true, 2},
                {"do", true, 2},   {"if", false, 2},  {"iio", true, 3},
                {"iii", false, 3}, {"ddd", false, 3}, {"idf", false, 3}};
    const struct selftest_case test = {"T0", "a script", 1, false, play, NULL, false};
    struct stop stop;
    assert_true(stop_init(&stop));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct selftest_outcome outcome;
        attempt = 0;
        script = rows[i].script;
        selftest_attempt(&test, CLOCK_NEVER, &stop, &outcome);
        assert_int_equal(outcome.ok, rows[i].ok);
        assert_int_equal(outcome.attempts, rows[i].attempts);
        assert_int_equal(attempt, rows[i].attempts);
        for (unsigned j = 0; j + 1 < outcome.attempts; j++)
            assert_true(strlen(outcome.repeated[j]) > 0);
    }
    struct selftest_outcome outcome;
    attempt = 0;
    script = "io";
    selftest_attempt(&test, clock_now_ns(), &stop, &outcome); /* no time for another one */
    assert_false(outcome.ok);
    assert_int_equal(outcome.attempts, 1);
    stop_destroy(&stop);
}

static void test_cases_have_names(void **state)
{
    (void)state;
    size_t count;
    const struct selftest_case *cases = selftest_cases(&count);
    assert_int_equal(count, 9);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(selftest_find(cases[i].name), &cases[i]);
        assert_non_null(cases[i].scene);
        assert_in_range(strlen(cases[i].title), 1, 80);
    }
    assert_null(selftest_find("T10"));
    assert_null(selftest_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparisons_have_two_ends),
        cmocka_unit_test(test_slots_and_stalls_on_paper),
        cmocka_unit_test(test_exponential_times),
        cmocka_unit_test(test_lindley_is_the_slot),
        cmocka_unit_test(test_the_spread_knows_that_waits_depend),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_one_entry_too_many_is_seen),
        cmocka_unit_test(test_the_server_knows_how_late_it_was),
        cmocka_unit_test(test_what_is_repeated),
        cmocka_unit_test(test_cases_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
