#include "service/dump_files.h"

#include "tests/unit/support.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_dumps_of_the_dying_by_time),
        cmocka_unit_test(test_of_many_the_newest_hundred),
        cmocka_unit_test(test_no_directory_has_no_dumps),
    };
    return cmocka_run_group_tests_name("dump_files", tests, NULL, NULL);
}
