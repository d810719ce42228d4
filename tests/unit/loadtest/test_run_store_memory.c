/* Each allocation fails once while a run is stored: begun, ended, listed, read, and read again by
 * the next process. A run whose begin and end succeeded is never lost. */
#include "tests/support/failing_malloc.h"

#include "loadtest/serve/run_store.h"

#include <dirent.h>
#include <unistd.h>

#if FAILING_MALLOC

static char folder[32];
static char why[512];

static void empty_folder(void)
{
    struct dirent **found;
    never_fails = true;
    int count = scandir(folder, &found, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, found[i]->d_name);
        if (strcmp(found[i]->d_name, ".") != 0 && strcmp(found[i]->d_name, "..") != 0)
            assert_int_equal(unlink(path), 0);
        free(found[i]);
    }
    free(found);
    never_fails = false;
}

/* Whether a store that is opened anew has the run, finished. Memory is there. */
static bool has_finished(const char *id)
{
    never_fails = true;
    struct run_store *store = run_store_open(folder, 10, why, sizeof why);
    assert_non_null(store);
    json_t *record = run_store_load(store, id);
    const char *state = json_string_value(json_object_get(record, "state"));
    bool has = state && strcmp(state, RUN_STATE_FINISHED) == 0 &&
               json_integer_value(json_object_get(record, "figure")) == 7;
    json_decref(record);
    run_store_close(store);
    never_fails = false;
    return has;
}

static bool store_a_run(void)
{
    char id[RUN_ID_SIZE];
    struct run_store *store = run_store_open(folder, 10, why, sizeof why);
    if (!store)
        return false;
    json_t *asked = json_pack("{s:i}", "rate", 5);
    bool is_begun = asked && run_store_begin(store, "http://h/", asked, id, why, sizeof why);
    json_decref(asked);
    json_t *result = is_begun ? json_pack("{s:i}", "figure", 7) : NULL;
    bool is_ended = result && run_store_end(store, id, RUN_STATE_FINISHED, result, why, sizeof why);
    json_t *list = run_store_list(store);
    json_t *record = is_ended ? run_store_load(store, id) : NULL;
    bool ok = is_ended && json_array_size(list) == 1 && record;
    json_decref(list);
    json_decref(record);
    run_store_close(store);
    if (is_ended && !has_finished(id))
        fail_msg("a run that was ended is lost");
    empty_folder();
    return ok;
}

static void test_a_runs_store(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/flashover-runs-XXXXXX");
    assert_non_null(mkdtemp(folder));
    fail_each(FAILING_ALLOCATION, store_a_run);
    assert_int_equal(rmdir(folder), 0);
}

#else

static void test_a_runs_store(void **state)
{
    (void)state;
    skip(); /* it replaces the allocator, as the sanitizer does */
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_runs_store)};
    return cmocka_run_group_tests_name("run_store_memory", tests, NULL, NULL);
}
