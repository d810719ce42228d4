/* Files written whole, and what is no file. In a folder of the test's own: a fault here, run as
 * root, would replace the machine's devices. */
#include "loadtest/base/whole_file.h"

#include "tests/support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[32];
static char path[64];
static char why[512];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/flashover-files-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails where something else was left */
}

static bool write_text(const char *text)
{
    return whole_file_write(path, 0640, text, strlen(text), why, sizeof why);
}

static void test_a_file_is_replaced_as_a_whole(void **state)
{
    (void)state;
    size_t size = 0;
    struct stat status;
    assert_true(write_text("first and longer"));
    assert_true(write_text("second"));
    char *read = whole_file_read(path, 100, &size);
    assert_string_equal(read, "second");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    free(read);
    assert_null(whole_file_read(path, 5, &size));
    assert_int_equal(errno, EFBIG);
}

static void test_trying_leaves_nothing_and_touches_nothing(void **state)
{
    (void)state;
    assert_true(whole_file_try(path, why, sizeof why));
    assert_int_not_equal(access(path, F_OK), 0);
    assert_false(whole_file_try(folder, why, sizeof why));
    assert_non_null(strstr(why, "Is a directory"));
    assert_false(whole_file_try("", why, sizeof why));
    assert_string_equal(why, "cannot write '': No such file or directory");
}

static void *read_pipe(void *argument)
{
    char *text = argument;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, text, 63);
    text[size > 0 ? size : 0] = '\0';
    close(fd);
    return NULL;
}

static void test_a_pipe_is_written_to_and_stays_one(void **state)
{
    (void)state;
    pthread_t reader;
    char text[64] = "";
    struct stat status;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_true(whole_file_try(path, why, sizeof why));
    CHECK_PTHREAD(pthread_create(&reader, NULL, read_pipe, text));
    assert_true(write_text("to whom it may concern"));
    CHECK_PTHREAD(pthread_join(reader, NULL));
    assert_string_equal(text, "to whom it may concern");
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISFIFO(status.st_mode));
}

static void test_a_full_device_is_told_and_stays(void **state)
{
    (void)state;
    struct stat status;
    assert_int_equal(symlink("/dev/full", path), 0);
    assert_true(whole_file_try(path, why, sizeof why));
    assert_false(write_text("text"));
    assert_non_null(strstr(why, "No space left on device"));
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(test_a_file_is_replaced_as_a_whole),
        ROW(test_trying_leaves_nothing_and_touches_nothing),
        ROW(test_a_pipe_is_written_to_and_stays_one),
        ROW(test_a_full_device_is_told_and_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
