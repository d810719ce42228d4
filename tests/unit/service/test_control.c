/* The control connection, to a server that answers from a table, stays silent, refuses or hangs up:
 * the toggles in force after the start, later changes, and retries. */
#include "service/toggles/control.h"

#include "tests/support/capture.h"
#include "tests/support/fake_backend.h"
#include "tests/support/support.h"

#include <fcntl.h>
#include <unistd.h>

static const struct fake_cell unsafe_cells[] = {{"map", 3}, {"unsafe", 6}};
static const struct fake_cell slots_cells[] = {{"map", 3}, {"slots", 5}};
static const struct fake_cell seven[] = {{"7", 1}};

#define BACKENDS                                                                                   \
    {                                                                                              \
        .statement = "pg_stat_activity", .cells = seven, .rows = 1, .columns = 1                   \
    }
#define TOGGLES_ARE(values)                                                                        \
    {                                                                                              \
        .statement = "SELECT name, value FROM toggle", .cells = (values), .rows = 1, .columns = 2  \
    }

static const struct fake_answer with_unsafe[] = {TOGGLES_ARE(unsafe_cells), BACKENDS, {0}};
static const struct fake_answer with_slots[] = {TOGGLES_ARE(slots_cells), BACKENDS, {0}};
static const struct fake_answer refusing[] = {
    {.statement = "LISTEN", .reaction = FAKE_ERROR, .sqlstate = "42501"}, BACKENDS, {0}};

static struct fake_backend backend;
static struct toggles toggles;
static struct settings settings;
static _Atomic unsigned new_settings; /* calls of on_new_settings */
/* Controls are never freed. These pointers keep them from being leaks. */
static struct control *controls[16];
static unsigned control_count;

static void count_new_settings(void)
{
    atomic_fetch_add(&new_settings, 1);
}

static struct control *start_at(const char *conninfo, const char *dump_dir)
{
    const char *values[TOGGLES];
    static const enum value_origin origins[TOGGLES];
    static const enum value_origin setting_origins[SETTINGS];
    static const double options[SETTINGS] = {[SETTING_pool_size] = 20};
    struct failure failure;
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++)
        values[toggle] = toggle_value_name(toggle, 0);
    toggles_init(&toggles, values, origins);
    settings_init(&settings, options, setting_origins, NULL);
    const struct control_config config = {.conninfo = conninfo,
                                          .replica = "here:1",
                                          .pool_application = "the-pool",
                                          .dump_dir = dump_dir,
                                          .toggles = &toggles,
                                          .settings = &settings,
                                          .on_new_settings = count_new_settings};
    struct control *control = control_start(&config, &failure);
    assert_non_null(control);
    controls[control_count++] = control;
    return control;
}

static struct control *start(const struct fake_answer *answers)
{
    fake_backend_open(&backend, answers);
    return start_at(backend.conninfo, NULL);
}

static void stop(struct control *control)
{
    control_stop(control, false);
    fake_backend_close(&backend);
}

static const char *map_in_force(void)
{
    const struct map_ops *map = toggles_select(&toggles).map;
    if (map == &map_mutex)
        return "mutex";
    if (map == &map_unsafe)
        return "unsafe";
    return map == &map_slots ? "slots" : "another";
}

/* The index of the first executed statement that contains this part. */
static unsigned place_of(const char *part)
{
    for (unsigned i = 0; i < backend.executed_count; i++)
        if (strstr(backend.executed[i], part))
            return i;
    fail_msg("'%s' was not executed", part);
    return 0;
}

/* ---- the database is there --------------------------------------------------------------------
 */

static void test_after_the_start_the_stored_toggles_are_in_force(void **state)
{
    (void)state;
    struct control *control = start(with_unsafe);
    assert_string_equal(map_in_force(), "unsafe");
    assert_true(control_reachable(control));
    wait_until(control_backends(control) == 7);
    assert_true(fake_backend_count(&backend, "|the-pool") > 0);
    stop(control);
}

/* LISTEN comes before the read, so that no change is missed between the two. The crash comes before
 * the start, because a start without a stop counts as a crash, and so would this one. The stop
 * comes last. */
static void test_a_life_is_recorded_in_order(void **state)
{
    (void)state;
    stop(start(with_unsafe));
    assert_true(place_of("LISTEN flashover_toggle") < place_of("SELECT name, value"));
    assert_true(place_of("SELECT name, value") < place_of("SELECT $1, 'crash'"));
    assert_true(place_of("SELECT $1, 'crash'") < place_of("SELECT $1, 'start'"));
    assert_int_equal(place_of("|here:1|stop|"), backend.executed_count - 1);
    /* the toggles that it starts with, stored ones among them */
    assert_non_null(
        strstr(backend.executed[place_of("SELECT $1, 'start'")], "\"value\":\"unsafe\""));
}

static void test_a_notification_puts_new_toggles_in_force(void **state)
{
    (void)state;
    struct control *control = start(with_unsafe);
    atomic_store(&backend.answers, with_slots);
    fake_backend_notify(&backend, "flashover_toggle");
    wait_until(strcmp(map_in_force(), "slots") == 0);
    stop(control);
}

static void test_a_change_is_in_force_when_it_returns(void **state)
{
    struct failure failure;
    json_t *changes = json_pack("{s:s}", "map", "slots");
    (void)state;
    struct control *control = start(with_unsafe);
    atomic_store(&backend.answers, with_slots);
    assert_true(control_change(control, STORE_TOGGLE, changes, &failure));
    assert_string_equal(map_in_force(), "slots");
    assert_int_equal(fake_backend_count(&backend, "|here:1|{\"map\":\"slots\"}"), 1);
    json_decref(changes);
    stop(control);
}

static void test_a_change_that_is_refused_changes_nothing(void **state)
{
    static const struct fake_answer read_only[] = {
        {.statement = "INSERT INTO toggle", .reaction = FAKE_ERROR, .sqlstate = "25006"},
        TOGGLES_ARE(unsafe_cells),
        BACKENDS,
        {0}};
    struct failure failure;
    json_t *changes = json_pack("{s:s}", "map", "slots");
    (void)state;
    struct control *control = start(read_only);
    assert_false(control_change(control, STORE_TOGGLE, changes, &failure));
    assert_non_null(strstr(failure.message, "nothing was changed: 25006"));
    assert_string_equal(map_in_force(), "unsafe");
    json_decref(changes);
    stop(control);
}

/* The start could not ask; the first reading then finds that the database has another value. */
static void test_settings_that_need_a_restart_are_told(void **state)
{
    static const struct fake_cell three[] = {{"pool-size", 9}, {"3", 1}};
    static const struct fake_answer with_three[] = {
        {.statement = "SELECT name, value FROM setting", .cells = three, .rows = 1, .columns = 2},
        BACKENDS,
        {0}};
    struct failure failure;
    json_t *changes = json_pack("{s:i}", "pool-size", 3);
    (void)state;
    atomic_store(&new_settings, 0);
    struct control *control = start(with_unsafe);
    assert_false(settings_need_restart(&settings));
    assert_int_equal(atomic_load(&new_settings), 0);
    atomic_store(&backend.answers, with_three);
    fake_backend_notify(&backend, "flashover_toggle");
    wait_until(atomic_load(&new_settings) == 1);
    assert_true(settings_need_restart(&settings));
    assert_true(control_change(control, STORE_SETTING, changes, &failure));
    assert_int_equal(fake_backend_count(&backend, "|here:1|{\"pool-size\":3}"), 1);
    json_decref(changes);
    stop(control);
}

static void test_a_stop_for_a_restart_says_so(void **state)
{
    (void)state;
    struct control *control = start(with_unsafe);
    control_stop(control, true);
    fake_backend_close(&backend);
    assert_int_equal(fake_backend_count(&backend, "{\"restart\":true}"), 1);
}

static void test_dumps_of_earlier_lives_are_offered(void **state)
{
    char dir[] = "/tmp/flashover-control-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(dir));
    fake_backend_open(&backend, with_unsafe);
    stop(start_at(backend.conninfo, dir)); /* no dumps, so no statement */
    assert_int_equal(fake_backend_count(&backend, "'dump'"), 0);
    int dir_fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    int file = openat(dir_fd, "crash-1.txt", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(dir_fd >= 0 && file >= 0);
    fake_backend_open(&backend, with_unsafe);
    stop(start_at(backend.conninfo, dir));
    assert_int_equal(fake_backend_count(&backend, "|here:1|[\"crash-1.txt\"]"), 1);
    assert_true(place_of("'dump'") < place_of("SELECT $1, 'crash'"));
    assert_int_equal(unlinkat(dir_fd, "crash-1.txt", 0), 0);
    close(file);
    close(dir_fd);
    assert_int_equal(rmdir(dir), 0);
}

/* ---- the database is away ---------------------------------------------------------------------
 */

/* Toggles that changed meanwhile are read again. The process goes on, so no second start is
 * recorded. */
static void test_a_lost_connection_is_made_again(void **state)
{
    (void)state;
    struct control *control = start(with_unsafe);
    wait_until(control_backends(control) == 7);
    atomic_store(&backend.answers, refusing);
    fake_backend_cut(&backend);
    wait_until(control_backends(control) == -1);
    assert_false(control_reachable(control)); /* at once, not when the last answer is too old */
    assert_string_equal(map_in_force(), "unsafe"); /* stays in force */
    atomic_store(&backend.answers, with_slots);
    wait_until(control_reachable(control));
    assert_string_equal(map_in_force(), "slots");
    stop(control);
    assert_int_equal(fake_backend_count(&backend, "SELECT $1, 'start'"), 1);
    assert_int_equal(fake_backend_count(&backend, "|here:1|stop|"), 1);
}

static void test_without_a_database_the_options_count(void **state)
{
    (void)state;
    struct control *control = start_at("host=/nowhere/at/all user=x dbname=x", NULL);
    assert_false(control_reachable(control));
    assert_int_equal(control_backends(control), -1);
    assert_string_equal(map_in_force(), toggle_value_name(TOGGLE_MAP, 0));
    struct failure failure;
    json_t *changes = json_pack("{s:s}", "map", "slots");
    assert_false(control_change(control, STORE_TOGGLE, changes, &failure));
    assert_non_null(strstr(failure.message, "nothing was changed: "));
    assert_string_equal(map_in_force(), toggle_value_name(TOGGLE_MAP, 0));
    json_decref(changes);
    int64_t from_ns = clock_now_ns();
    control_stop(control, false); /* does not wait for the end of the next try */
    assert_true(clock_now_ns() - from_ns < TEST_PATIENCE_NS);
}

static const struct fake_answer no_events[] = {
    {.statement = "'crash'", .reaction = FAKE_ERROR, .sqlstate = "25006"},
    TOGGLES_ARE(unsafe_cells),
    BACKENDS,
    {0}};

/* Events are apart from readiness. A life that could not be recorded has no stop either. */
static void test_without_events_it_is_reachable(void **state)
{
    (void)state;
    struct control *control = start(no_events);
    assert_true(control_reachable(control));
    assert_string_equal(map_in_force(), "unsafe");
    wait_until(control_backends(control) == 7);
    assert_int_equal(atomic_load(&backend.accepted), 2); /* one to record */
    stop(control);
    assert_int_equal(fake_backend_count(&backend, "SELECT $1, 'start'"), 0);
    assert_int_equal(fake_backend_count(&backend, "|here:1|stop|"), 0);
}

/* The stop is the last moment for a start that could not be recorded. */
static void test_a_start_is_recorded_later(void **state)
{
    (void)state;
    struct control *control = start(no_events);
    assert_int_equal(fake_backend_count(&backend, "SELECT $1, 'start'"), 0);
    atomic_store(&backend.answers, with_unsafe);
    stop(control);
    assert_int_equal(fake_backend_count(&backend, "SELECT $1, 'start'"), 1);
    assert_true(place_of("SELECT $1, 'start'") < place_of("|here:1|stop|"));
}

/* A server that takes the connection and says nothing keeps the start for three seconds, not for
 * ever. */
static void test_a_silent_database_does_not_keep_the_start(void **state)
{
    static const struct fake_answer silent[] = {{.statement = "LISTEN", .reaction = FAKE_SILENT},
                                                {0}};
    (void)state;
    int64_t from_ns = clock_now_ns();
    struct control *control = start(silent);
    assert_true(clock_now_ns() - from_ns < TEST_PATIENCE_NS);
    assert_false(control_reachable(control));
    stop(control);
}

/* The waits between tries, as the log shows them: each is twice the last, up to half a second. They
 * are short again after a connection succeeded. */
static void test_it_is_tried_again_at_growing_intervals(void **state)
{
    static const int expected_ms[] = {100, 200, 400, 500, 500};
    static struct capture log;
    int64_t give_up_ns = clock_now_ns() + TEST_PATIENCE_NS;
    int64_t from_ns = clock_now_ns();
    (void)state;
    capture_begin(&log, STDERR_FILENO);
    fake_backend_open(&backend, refusing);
    struct control *control = start_at(backend.conninfo, NULL);
    while (atomic_load(&backend.accepted) < 6 && clock_now_ns() < give_up_ns)
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS);
    int64_t took_ns = clock_now_ns() - from_ns;
    atomic_store(&backend.answers, with_unsafe);
    while (!control_reachable(control) && clock_now_ns() < give_up_ns)
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS);
    bool came_back = control_reachable(control);
    atomic_store(&backend.answers, refusing);
    fake_backend_cut(&backend);
    while (control_reachable(control) && clock_now_ns() < give_up_ns)
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS);
    stop(control);
    capture_end(&log);
    assert_true(came_back);
    assert_true(took_ns >= 1700 * CLOCK_NS_PER_MS);
    const char *at = log.text;
    for (size_t i = 0; i < sizeof expected_ms / sizeof expected_ms[0]; i++) {
        at = strstr(at, "\"retry_ms\":");
        assert_non_null(at);
        at += strlen("\"retry_ms\":");
        assert_int_equal(strtol(at, NULL, 10), expected_ms[i]);
    }
    assert_non_null(strstr(at, "\"retry_ms\":100}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_after_the_start_the_stored_toggles_are_in_force),
        cmocka_unit_test(test_a_life_is_recorded_in_order),
        cmocka_unit_test(test_a_notification_puts_new_toggles_in_force),
        cmocka_unit_test(test_a_change_is_in_force_when_it_returns),
        cmocka_unit_test(test_a_change_that_is_refused_changes_nothing),
        cmocka_unit_test(test_settings_that_need_a_restart_are_told),
        cmocka_unit_test(test_a_stop_for_a_restart_says_so),
        cmocka_unit_test(test_dumps_of_earlier_lives_are_offered),
        cmocka_unit_test(test_a_lost_connection_is_made_again),
        cmocka_unit_test(test_without_a_database_the_options_count),
        cmocka_unit_test(test_without_events_it_is_reachable),
        cmocka_unit_test(test_a_start_is_recorded_later),
        cmocka_unit_test(test_a_silent_database_does_not_keep_the_start),
        cmocka_unit_test(test_it_is_tried_again_at_growing_intervals),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
