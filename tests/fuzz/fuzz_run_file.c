/*
 * A run's file that somebody else wrote, or a disk damaged. The store lists and loads it or does
 * without it, ends a run beside it, and says why where it cannot. Input: the file.
 */
#include "loadtest/serve/run_store.h"

#include "tests/fuzz/input.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID "20260131T235959999Z-0123abcd"

static char folder[] = "/tmp/flashover-fuzz-XXXXXX";
static char path[sizeof folder + sizeof "/" ID ".json"];
static char lock_path[sizeof folder + sizeof "/.lock"];

static void remove_folder(void)
{
    (void)unlink(path);
    (void)unlink(lock_path);
    (void)rmdir(folder);
}

static void make_folder(void)
{
    assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/%s.json", folder, ID);
    snprintf(lock_path, sizeof lock_path, "%s/.lock", folder);
    (void)atexit(remove_folder);
}

static void write_file(const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "we");
    assert(file);
    assert(fwrite(data, 1, size, file) == size);
    assert(fclose(file) == 0);
}

static void check_list(const json_t *list)
{
    static const char *const words[] = {"id", "state", "started", "url"};
    size_t at;
    json_t *run;
    assert(json_is_array(list) && json_array_size(list) <= 1);
    json_array_foreach (list, at, run) {
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            const json_t *word = json_object_get(run, words[i]);
            assert(!word || json_is_string(word) || json_is_null(word));
        }
        assert(strcmp(json_string_value(json_object_get(run, "id")), ID) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    char why[512] = "";
    if (path[0] == '\0')
        make_folder();
    write_file(data, size_bytes);
    struct run_store *store = run_store_open(folder, 10, why, sizeof why);
    assert(store);
    json_t *list = run_store_list(store);
    check_list(list);
    json_t *run = run_store_load(store, ID);
    assert(!run || json_is_object(run));
    json_decref(run);
    json_decref(list);
    run_store_close(store);
    return 0;
}
