#include "service/dump/files.h"

#include "tests/support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void touch(int dir, const char *name)
{
    int fd = openat(dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void test_only_dumps_of_the_dying_by_time(void **state)
{
    static const char *const names[] = {"crash-20260102T000000.000Z-7.txt",
                                        "crash-20260101T000000.000Z-9.txt",
                                        "crash-20260101T000000.000Z-9.txt.new",
                                        "pool-events-1.jsonl",
                                        "notes.txt",
                                        "crash"};
    enum { COUNT = sizeof names / sizeof names[0] };
    char path[] = "/tmp/flashover-dumps-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(path));
    int dir = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < COUNT; i++)
        touch(dir, names[i]);
    json_t *found = dump_files_list(path);
    assert_int_equal(json_array_size(found), 2);
    assert_string_equal(json_string_value(json_array_get(found, 0)), names[1]);
    assert_string_equal(json_string_value(json_array_get(found, 1)), names[0]);
    json_decref(found);
    for (size_t i = 0; i < COUNT; i++)
        unlinkat(dir, names[i], 0);
    close(dir);
    assert_int_equal(rmdir(path), 0);
}

static void test_of_many_the_newest_hundred(void **state)
{
    enum { MANY = 103 };
    char path[] = "/tmp/flashover-dumps-XXXXXX";
    char name[64];
    (void)state;
    assert_non_null(mkdtemp(path));
    int dir = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "crash-%04d.txt", i);
        touch(dir, name);
    }
    json_t *found = dump_files_list(path);
    assert_int_equal(json_array_size(found), 100);
    assert_string_equal(json_string_value(json_array_get(found, 0)), "crash-0003.txt");
    assert_string_equal(json_string_value(json_array_get(found, 99)), "crash-0102.txt");
    json_decref(found);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "crash-%04d.txt", i);
        unlinkat(dir, name, 0);
    }
    close(dir);
    assert_int_equal(rmdir(path), 0);
}

static void test_no_directory_has_no_dumps(void **state)
{
    (void)state;
    json_t *found = dump_files_list("/nowhere/at/all");
    assert_true(json_is_array(found));
    assert_int_equal(json_array_size(found), 0);
    json_decref(found);
}

/* Beyond a hundred, and beyond 256 MiB, the oldest of each kind go, and nothing else. */
static void test_the_oldest_go(void **state)
{
    enum { MANY = 103 };
    char path[] = "/tmp/flashover-dumps-XXXXXX";
    char name[64];
    (void)state;
    assert_non_null(mkdtemp(path));
    int dir = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "crash-%04d.txt", i);
        touch(dir, name);
    }
    touch(dir, "notes.txt");
    for (int i = 0; i < 5; i++) { /* 100 MiB each, without taking up room */
        snprintf(name, sizeof name, "pool-events-%d.jsonl", i);
        touch(dir, name);
        int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
        assert_int_equal(ftruncate(fd, 100 << 20), 0);
        close(fd);
    }
    dump_files_trim(path);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "crash-%04d.txt", i);
        assert_int_equal(unlinkat(dir, name, 0) == 0, i >= MANY - DUMP_FILES_KEPT);
    }
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "pool-events-%d.jsonl", i);
        assert_int_equal(unlinkat(dir, name, 0) == 0, i >= 3);
    }
    assert_int_equal(unlinkat(dir, "notes.txt", 0), 0);
    touch(dir, "crash-0001.txt");
    touch(dir, "crash-0002.txt"); /* the newest stays, however large it is */
    int fd = openat(dir, "crash-0002.txt", O_WRONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, 300 << 20), 0);
    close(fd);
    dump_files_trim(path);
    assert_int_equal(unlinkat(dir, "crash-0002.txt", 0), 0);
    assert_int_equal(unlinkat(dir, "crash-0001.txt", 0), -1);
    close(dir);
    assert_int_equal(rmdir(path), 0);
    dump_files_trim("/tmp/flashover-no-such-folder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_dumps_of_the_dying_by_time),
        cmocka_unit_test(test_of_many_the_newest_hundred),
        cmocka_unit_test(test_the_oldest_go),
        cmocka_unit_test(test_no_directory_has_no_dumps),
    };
    return cmocka_run_group_tests_name("dump_files", tests, NULL, NULL);
}
