/* The tables `toggle` and `event`: the statements, their order, and the message after a change that
 * failed half-way. The connection is real. Its server answers from a table. */
#include "service/toggles/store.h"

#include "tests/support/fake_backend.h"
#include "tests/support/support.h"

static const struct fake_cell stored_cells[] = {
    {"map", 3}, {"unsafe", 6}, {"query", 5}, {"batched", 7}};
static const struct fake_answer all_well[] = {
    {.statement = "SELECT name, value", .cells = stored_cells, .rows = 2, .columns = 2}, {0}};

static struct fake_backend backend;
static struct db_conn *conn; /* for tests that need an open one */

static int64_t in_time(void)
{
    return clock_now_ns() + TEST_PATIENCE_NS;
}

static int connect_to_backend(void **state)
{
    const struct db_conn_config config = {.conninfo = backend.conninfo};
    struct failure failure;
    (void)state;
    fake_backend_open(&backend, all_well);
    conn = db_conn_open(&config, in_time(), -1, &failure);
    return conn ? 0 : -1;
}

static int disconnect(void **state)
{
    (void)state;
    db_conn_close(conn);
    fake_backend_close(&backend);
    return 0;
}

static json_t *change_by(int64_t deadline_ns, struct failure *failure)
{
    const struct db_conn_config config = {.conninfo = backend.conninfo};
    json_t *changes = json_pack("{s:s}", "map", "unsafe");
    json_t *stored = store_change(&config, STORE_TOGGLE, "here:1", changes, deadline_ns, failure);
    json_decref(changes);
    return stored;
}

/* Makes a change that fails, and returns its failure. */
static struct failure fail_to_change(const struct fake_answer *answers, int64_t deadline_ns)
{
    struct failure failure = {0};
    atomic_store(&backend.answers, answers);
    json_t *stored = change_by(deadline_ns, &failure);
    assert_null(stored);
    return failure;
}

static void assert_starts(const char *text, const char *start)
{
    if (strncmp(text, start, strlen(start)) != 0)
        fail_msg("'%s' does not start with '%s'", text, start);
}

static void test_what_is_stored_is_an_object(void **state)
{
    struct failure failure;
    (void)state;
    json_t *stored = store_read(conn, STORE_TOGGLE, in_time(), &failure);
    assert_int_equal(json_object_size(stored), 2);
    assert_string_equal(json_string_value(json_object_get(stored, "map")), "unsafe");
    assert_string_equal(json_string_value(json_object_get(stored, "query")), "batched");
    json_decref(stored);
}

static void test_nothing_stored_is_an_empty_object(void **state)
{
    static const struct fake_answer empty[] = {{0}};
    struct failure failure;
    (void)state;
    atomic_store(&backend.answers, empty);
    json_t *stored = store_read(conn, STORE_TOGGLE, in_time(), &failure);
    assert_true(json_is_object(stored));
    assert_int_equal(json_object_size(stored), 0);
    json_decref(stored);
}

static void test_a_change_is_limited_stored_and_read_back(void **state)
{
    struct failure failure;
    (void)state;
    unsigned before = backend.executed_count;
    json_t *stored = change_by(in_time(), &failure);
    assert_int_equal(json_object_size(stored), 2);
    json_decref(stored);
    assert_int_equal(fake_backend_count(&backend, "") - before, 3);
    /* the server gives up first, after half of the time left */
    const char *limit = strrchr(backend.executed[before], '|');
    assert_non_null(strstr(backend.executed[before], "statement_timeout"));
    assert_in_range(strtol(limit + 1, NULL, 10), 1, TEST_PATIENCE_NS / CLOCK_NS_PER_MS / 2);
    assert_non_null(strstr(backend.executed[before + 1], "INSERT INTO toggle"));
    assert_non_null(strstr(backend.executed[before + 1], "|here:1|{\"map\":\"unsafe\"}"));
    assert_non_null(strstr(backend.executed[before + 2], "SELECT name, value"));
}

static void test_without_a_connection_nothing_is_changed(void **state)
{
    const struct db_conn_config nowhere = {.conninfo = "host=/nowhere/at/all user=x dbname=x"};
    struct failure failure = {0};
    json_t *changes = json_pack("{s:s}", "map", "unsafe");
    (void)state;
    json_t *stored = store_change(&nowhere, STORE_TOGGLE, "here:1", changes, in_time(), &failure);
    json_decref(changes);
    assert_null(stored);
    assert_int_equal(failure.kind, FAILURE_UNAVAILABLE);
    assert_starts(failure.message, "nothing was changed: connect to /nowhere/at/all");
}

static void test_what_the_server_refuses_is_not_changed(void **state)
{
    static const struct fake_answer no_limit[] = {
        {.statement = "statement_timeout", .reaction = FAKE_HANG_UP}, {0}};
    static const struct fake_answer no_store[] = {
        {.statement = "INSERT", .reaction = FAKE_ERROR, .sqlstate = "57014"}, {0}};
    (void)state;
    struct failure failure = fail_to_change(no_limit, in_time());
    assert_starts(failure.message, "nothing was changed: connection(127.0.0.1:");
    failure = fail_to_change(no_store, in_time());
    assert_string_equal(failure.message, "nothing was changed: 57014 the server refuses");
    assert_string_equal(failure.sqlstate, "57014");
    assert_int_equal(failure.kind, FAILURE_DATABASE);
}

/* The statement may have succeeded, and only its answer was lost. */
static void test_without_an_answer_it_is_not_known(void **state)
{
    static const struct fake_answer lost[] = {{.statement = "INSERT", .reaction = FAKE_HANG_UP},
                                              {0}};
    static const struct fake_answer silent[] = {{.statement = "INSERT", .reaction = FAKE_SILENT},
                                                {0}};
    (void)state;
    struct failure failure = fail_to_change(lost, in_time());
    assert_starts(failure.message, "it is not known whether anything was changed: connection(");
    failure = fail_to_change(silent, clock_now_ns() + CLOCK_NS_PER_S);
    assert_starts(failure.message, "it is not known whether anything was changed: ");
    assert_int_equal(failure.kind, FAILURE_READ_DEADLINE);
}

static void test_a_change_that_cannot_be_read_back_is_stored(void **state)
{
    static const struct fake_answer unread[] = {
        {.statement = "SELECT name, value", .reaction = FAKE_ERROR, .sqlstate = "42501"}, {0}};
    (void)state;
    struct failure failure = fail_to_change(unread, in_time());
    assert_starts(failure.message, "the change is stored, and could not be read back: 42501 ");
    assert_string_equal(failure.sqlstate, "42501");
}

/* A service is newer than its schema until the migration has run. */
static void test_a_missing_table_of_settings_stores_none(void **state)
{
    static const struct fake_answer missing[] = {
        {.statement = "SELECT name, value", .reaction = FAKE_ERROR, .sqlstate = "42P01"}, {0}};
    struct failure failure;
    (void)state;
    atomic_store(&backend.answers, missing);
    json_t *stored = store_read(conn, STORE_SETTING, in_time(), &failure);
    assert_true(json_is_object(stored));
    assert_int_equal(json_object_size(stored), 0);
    json_decref(stored);
    assert_null(store_read(conn, STORE_TOGGLE, in_time(), &failure));
}

/* ---- events -----------------------------------------------------------------------------------
 */

static void test_an_event_has_a_detail_or_an_empty_one(void **state)
{
    struct failure failure;
    json_t *detail = json_pack("{s:i}", "pid", 7);
    (void)state;
    int64_t now_ns = clock_now_ns();
    int64_t late_ns = now_ns + 3600 * CLOCK_NS_PER_S;
    assert_true(event_append(conn, "here:1", "start", detail, late_ns, in_time(), &failure));
    assert_true(event_append(conn, "here:1", "stop", NULL, late_ns, in_time(), &failure));
    assert_int_equal(fake_backend_count(&backend, "|here:1|start|0.000000|{\"pid\":7}"), 1);
    assert_int_equal(fake_backend_count(&backend, "|here:1|stop|0.000000|{}"), 1);
    /* recorded an hour after it happened */
    int64_t ago_ns = now_ns - 3600 * CLOCK_NS_PER_S;
    assert_true(event_append(conn, "here:1", "again", detail, ago_ns, in_time(), &failure));
    json_decref(detail);
    assert_int_equal(fake_backend_count(&backend, "|here:1|again|360"), 1);
}

static void test_a_crash_is_a_row_that_was_added(void **state)
{
    static const struct fake_answer added[] = {{.statement = "crash", .tag = "INSERT 0 1"}, {0}};
    static const struct fake_answer none[] = {{.statement = "crash", .tag = "INSERT 0 0"}, {0}};
    static const struct fake_answer refused[] = {
        {.statement = "crash", .reaction = FAKE_ERROR, .sqlstate = "42501"}, {0}};
    struct failure failure;
    bool crashed = false;
    (void)state;
    atomic_store(&backend.answers, added);
    assert_true(event_append_unclean_end(conn, "here:1", "life", clock_now_ns(), &crashed,
                                         in_time(), &failure));
    assert_true(crashed);
    atomic_store(&backend.answers, none);
    assert_true(event_append_unclean_end(conn, "here:1", "life", clock_now_ns(), &crashed,
                                         in_time(), &failure));
    assert_false(crashed);
    crashed = true;
    atomic_store(&backend.answers, refused);
    assert_false(event_append_unclean_end(conn, "here:1", "life", clock_now_ns(), &crashed,
                                          in_time(), &failure));
    assert_false(crashed);
}

/* Its statement names the life, so that it can be tried again. */
static void test_a_start_names_its_life(void **state)
{
    struct failure failure;
    json_t *detail = json_pack("{s:s}", "life", "0123");
    (void)state;
    assert_true(event_append_start(conn, "here:1", detail, clock_now_ns(), in_time(), &failure));
    assert_int_equal(fake_backend_count(&backend, "|{\"life\":\"0123\"}"), 1);
    assert_true(event_limit_statements(conn, in_time(), &failure));
    assert_true(fake_backend_count(&backend, "statement_timeout") > 0);
    json_decref(detail);
}

static void test_dumps_that_are_new_are_told(void **state)
{
    static const struct fake_cell names[] = {{"crash-2.txt", 11}};
    static const struct fake_answer one[] = {
        {.statement = "'dump'", .cells = names, .rows = 1, .columns = 1}, {0}};
    static const struct fake_answer refused[] = {
        {.statement = "'dump'", .reaction = FAKE_ERROR, .sqlstate = "42501"}, {0}};
    struct failure failure;
    json_t *added;
    json_t *files = json_pack("[s, s]", "crash-1.txt", "crash-2.txt");
    (void)state;
    atomic_store(&backend.answers, one);
    assert_true(event_append_dumps(conn, "here:1", files, &added, in_time(), &failure));
    assert_int_equal(json_array_size(added), 1);
    assert_string_equal(json_string_value(json_array_get(added, 0)), "crash-2.txt");
    json_decref(added);
    assert_int_equal(fake_backend_count(&backend, "|here:1|[\"crash-1.txt\",\"crash-2.txt\"]"), 1);
    atomic_store(&backend.answers, refused);
    assert_false(event_append_dumps(conn, "here:1", files, &added, in_time(), &failure));
    assert_null(added);
    json_decref(files);
}

static int answer_all(void **state)
{
    (void)state;
    atomic_store(&backend.answers, all_well);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_is_stored_is_an_object, answer_all),
        cmocka_unit_test_setup(test_nothing_stored_is_an_empty_object, answer_all),
        cmocka_unit_test_setup(test_a_change_is_limited_stored_and_read_back, answer_all),
        cmocka_unit_test_setup(test_without_a_connection_nothing_is_changed, answer_all),
        cmocka_unit_test_setup(test_what_the_server_refuses_is_not_changed, answer_all),
        cmocka_unit_test_setup(test_without_an_answer_it_is_not_known, answer_all),
        cmocka_unit_test_setup(test_a_change_that_cannot_be_read_back_is_stored, answer_all),
        cmocka_unit_test_setup(test_a_missing_table_of_settings_stores_none, answer_all),
        cmocka_unit_test_setup(test_an_event_has_a_detail_or_an_empty_one, answer_all),
        cmocka_unit_test_setup(test_a_crash_is_a_row_that_was_added, answer_all),
        cmocka_unit_test_setup(test_a_start_names_its_life, answer_all),
        cmocka_unit_test_setup(test_dumps_that_are_new_are_told, answer_all),
    };
    return cmocka_run_group_tests_name("toggle_store", tests, connect_to_backend, disconnect);
}
