/* Runs on disk, in a folder of the test's own. */
#include "loadtest/serve/run_store.h"

#include "tests/support/support.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[32];
static char runs[64];
static char why[512];

static int is_no_dot(const struct dirent *file)
{
    return file->d_name[0] != '.';
}

/* Counts the files in the folder of the runs, and removes them if `and_remove`. */
static size_t look_at_files(bool and_remove)
{
    struct dirent **found;
    int count = scandir(runs, &found, is_no_dot, alphasort);
    for (int i = 0; i < count; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", runs, found[i]->d_name);
        if (and_remove)
            unlink(path);
        free(found[i]);
    }
    if (count >= 0)
        free(found);
    return count < 0 ? 0 : (size_t)count;
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/flashover-runs-XXXXXX");
    snprintf(runs, sizeof runs, "%s/runs", mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state)
{
    char lock[80];
    (void)state;
    look_at_files(true);
    snprintf(lock, sizeof lock, "%s/.lock", runs);
    unlink(lock);
    rmdir(runs);
    return rmdir(folder);
}

static struct run_store *reopen(struct run_store *store, size_t keep)
{
    run_store_close(store);
    store = run_store_open(runs, keep, why, sizeof why);
    if (!store)
        fail_msg("%s", why);
    return store;
}

static void begin(struct run_store *store, char id[RUN_ID_SIZE])
{
    json_t *asked = json_pack("{s:i}", "rate", 5);
    assert_true(run_store_begin(store, "http://h/", asked, id, why, sizeof why));
    json_decref(asked);
    assert_true(run_store_is_id(id));
}

static int end(struct run_store *store, const char *id)
{
    json_t *result = json_pack("{s:{s:s}, s:[i,i]}", "verdict", "status", "PASS", "series", 1, 2);
    return run_store_end(store, id, RUN_STATE_FINISHED, result, why, sizeof why) ? 0 : -1;
}

static void assert_state(struct run_store *store, const char *id, const char *state,
                         const char *verdict)
{
    json_t *record = run_store_load(store, id);
    json_t *list = run_store_list(store);
    assert_string_equal(json_string_value(json_object_get(record, "state")), state);
    size_t at;
    json_t *entry;
    unsigned found = 0;
    json_array_foreach (list, at, entry) {
        const char *word = json_string_value(json_object_get(entry, "verdict"));
        if (strcmp(json_string_value(json_object_get(entry, "id")), id) != 0)
            continue;
        found++;
        assert_int_equal(json_object_size(entry), 5);
        assert_string_equal(json_string_value(json_object_get(entry, "state")), state);
        assert_string_equal(word ? word : "none", verdict);
    }
    assert_int_equal(found, 1);
    json_decref(record);
    json_decref(list);
}

static size_t count_files(void)
{
    return look_at_files(false);
}

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", runs, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_a_run_from_start_to_end(void **state)
{
    (void)state;
    struct run_store *store = reopen(NULL, 10);
    char id[RUN_ID_SIZE];
    begin(store, id);
    assert_state(store, id, RUN_STATE_RUNNING, "none");
    assert_int_equal(end(store, id), 0);
    assert_state(store, id, RUN_STATE_FINISHED, "PASS");
    store = reopen(store, 10);
    assert_state(store, id, RUN_STATE_FINISHED, "PASS");
    json_t *record = run_store_load(store, id);
    assert_int_equal(json_array_size(json_object_get(record, "series")), 2);
    assert_string_equal(json_string_value(json_object_get(record, "url")), "http://h/");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(record, "asked"), "rate")),
                     5);
    assert_non_null(json_object_get(record, "ended"));
    json_decref(record);
    run_store_close(store);
}

static void test_a_run_that_was_under_way_is_lost(void **state)
{
    (void)state;
    struct run_store *store = reopen(NULL, 10);
    char id[RUN_ID_SIZE];
    begin(store, id);
    for (int i = 0; i < 2; i++) {
        store = reopen(store, 10);
        assert_state(store, id, RUN_STATE_LOST, "none");
    }
    run_store_close(store);
}

static int64_t wall_ms(void)
{
    return (int64_t)(clock_unix_seconds() * 1e3);
}

static void test_the_oldest_go(void **state)
{
    (void)state;
    struct run_store *store = reopen(NULL, 3);
    char ids[6][RUN_ID_SIZE];
    for (int i = 0; i < 6; i++) {
        begin(store, ids[i]);
        assert_int_equal(end(store, ids[i]), 0);
        int64_t ended_ms = wall_ms();
        wait_until(wall_ms() > ended_ms); /* ids are sorted by it */
        if (i > 0)
            assert_true(strcmp(ids[i - 1], ids[i]) < 0);
        assert_int_equal(count_files(), i < 3 ? i + 1 : 3);
    }
    assert_null(run_store_load(store, ids[2]));
    assert_state(store, ids[3], RUN_STATE_FINISHED, "PASS");
    json_t *list = run_store_list(store);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(list, i), "id")),
                            ids[5 - i]);
    json_decref(list);
    store = reopen(store, 1);
    assert_int_equal(count_files(), 1);
    assert_state(store, ids[5], RUN_STATE_FINISHED, "PASS");
    run_store_close(store);
}

/* A clock that was set back makes the new run look like the oldest. */
static void test_the_newest_stays_whatever_its_id(void **state)
{
    (void)state;
    struct run_store *store = reopen(NULL, 1);
    run_store_close(store);
    write_file("99990101T000000000Z-00000000.json",
               "{\"id\":\"99990101T000000000Z-00000000\",\"state\":\"finished\",\"started\":\"\","
               "\"url\":\"\"}");
    store = reopen(NULL, 1);
    assert_state(store, "99990101T000000000Z-00000000", RUN_STATE_FINISHED, "none");
    char id[RUN_ID_SIZE];
    begin(store, id);
    assert_state(store, id, RUN_STATE_RUNNING, "none");
    assert_null(run_store_load(store, "99990101T000000000Z-00000000"));
    run_store_close(store);
}

static void test_other_files_are_left_alone(void **state)
{
    (void)state;
    struct run_store *store = reopen(NULL, 10);
    char id[RUN_ID_SIZE];
    begin(store, id);
    assert_int_equal(end(store, id), 0);
    run_store_close(store);
    static const char *const others[] = {
        "notes.txt",
        "20200101T000000000Z-00000001.json",     /* not JSON */
        "20200101T000000000Z-00000002.json",     /* its id is another */
        "20200101T000000000Z-00000003.json.bak", /* not a name of ours */
        "20200101T000000000Z-00000003.json.backup",
        "20200101T000000000Z-00000003.json.sha256",
        "20200101T000000000Z-00000003.json.partial-", /* nor these */
        "20200101T000000000Z-00000003.json.partial-1234567",
        "x20200101T000000000Z-0000000.json",
    };
    static const char *const texts[] = {
        "", "{\"id\":", "{\"id\":\"20200101T000000000Z-00000001\",\"state\":\"finished\"}",
        "", "",         "",
        "", "",         "{}"};
    enum { OTHERS = sizeof others / sizeof others[0] };
    static_assert(sizeof texts / sizeof texts[0] == OTHERS, "one each");
    for (size_t i = 0; i < OTHERS; i++)
        write_file(others[i], texts[i]);
    /* a killed process left it */
    write_file("20200101T000000000Z-00000004.json.partial-AbC123", "half");
    store = reopen(NULL, 1);
    assert_int_equal(count_files(), OTHERS + 1);
    json_t *list = run_store_list(store);
    assert_int_equal(json_array_size(list), 1);
    json_decref(list);
    assert_null(run_store_load(store, "20200101T000000000Z-00000002"));
    run_store_close(store);
}

static void test_ids_never_become_paths_unchecked(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        ".",
                                        "..",
                                        ".lock",
                                        "../../../../etc/passwd",
                                        "20260101T000000000Z-0000000",
                                        "20260101T000000000Z-000000000",
                                        "20260101T000000000Z-0000000g",
                                        "20260101T000000000Z-0000000A",
                                        "20260101t000000000z-00000000",
                                        "20260101T000000000Z-0000/000",
                                        "2026010 T000000000Z-00000000",
                                        "20260101T000000000Z-00000000/",
                                        "20260101T000000000Z-00000000.json"};
    struct run_store *store = reopen(NULL, 10);
    assert_true(run_store_is_id("20260101T000000000Z-0000abcf"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_false(run_store_is_id(cases[i]));
        assert_null(run_store_load(store, cases[i]));
    }
    run_store_close(store);
}

static void test_one_process_at_a_time(void **state)
{
    (void)state;
    struct run_store *store = reopen(NULL, 10);
    char id[RUN_ID_SIZE];
    begin(store, id);
    assert_null(run_store_open(runs, 10, why, sizeof why));
    assert_non_null(strstr(why, "belongs to another load tester"));
    assert_state(store, id, RUN_STATE_RUNNING, "none");
    run_store_close(store);
}

static void test_a_disk_that_refuses(void **state)
{
    (void)state;
    char away[80];
    char id[RUN_ID_SIZE];
    char none[RUN_ID_SIZE];
    struct run_store *store = reopen(NULL, 10);
    snprintf(away, sizeof away, "%s-away", runs);
    begin(store, id);
    assert_int_equal(rename(runs, away), 0);
    json_t *asked = json_object();
    assert_false(run_store_begin(store, "http://h/", asked, none, why, sizeof why));
    assert_non_null(strstr(why, "cannot write"));
    json_decref(asked);
    assert_int_equal(end(store, id), -1);
    assert_non_null(strstr(why, "cannot write"));
    assert_state(store, id, RUN_STATE_FINISHED, "PASS"); /* from memory */
    json_t *list = run_store_list(store);
    assert_int_equal(json_array_size(list), 1);
    json_decref(list);
    assert_int_equal(rename(away, runs), 0);
    run_store_close(store);
    store = reopen(NULL, 10); /* the end wrote it */
    assert_state(store, id, RUN_STATE_FINISHED, "PASS");
    run_store_close(store);
    assert_null(run_store_open("/proc/none", 1, why, sizeof why));
    assert_non_null(strstr(why, "/proc/none"));
}

/* What the disk refused is on it with the next run that it takes, not only at the end. */
static void test_the_next_run_saves_what_was_refused(void **state)
{
    (void)state;
    char away[80];
    char refused[RUN_ID_SIZE];
    char next[RUN_ID_SIZE];
    char path[200];
    struct stat status;
    struct run_store *store = reopen(NULL, 10);
    snprintf(away, sizeof away, "%s-away", runs);
    begin(store, refused);
    assert_int_equal(rename(runs, away), 0);
    assert_int_equal(end(store, refused), -1);
    assert_int_equal(rename(away, runs), 0);
    begin(store, next);
    snprintf(path, sizeof path, "%s/%s.json", runs, refused);
    json_error_t error;
    json_t *record = json_load_file(path, 0, &error);
    assert_string_equal(json_string_value(json_object_get(record, "state")), RUN_STATE_FINISHED);
    json_decref(record);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    run_store_close(store);
}

/* A record nested so deep would overflow the stack of a connection's thread. */
static void test_a_file_that_nests_is_no_run(void **state)
{
    static const int depths[] = {20, 1000, 100000};
    (void)state;
    char id[RUN_ID_SIZE];
    char path[200];
    struct run_store *store = reopen(NULL, 10);
    begin(store, id);
    assert_int_equal(end(store, id), 0);
    snprintf(path, sizeof path, "%s/%s.json", runs, id);
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        fprintf(file,
                "{\"id\":\"%s\",\"state\":\"finished\",\"started\":\"x\",\"url\":\"[[[[\\\"[[[\","
                "\"deep\":",
                id);
        for (int depth = 0; depth < depths[i]; depth++)
            fputc('[', file);
        for (int depth = 0; depth < depths[i]; depth++)
            fputc(']', file);
        fputs("}\n", file);
        assert_int_equal(fclose(file), 0);
        json_t *record = run_store_load(store, id);
        assert_int_equal(record != NULL, depths[i] == 20);
        json_decref(record);
    }
    run_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_run_from_start_to_end, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_run_that_was_under_way_is_lost, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_the_oldest_go, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_the_newest_stays_whatever_its_id, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_other_files_are_left_alone, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_ids_never_become_paths_unchecked, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_one_process_at_a_time, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_disk_that_refuses, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_the_next_run_saves_what_was_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_a_file_that_nests_is_no_run, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
