/* Lines on a stderr that does not block, or has no room. */
#include "common/log.h"

#include "tests/support/support.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    int former;
    int ends[2];
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture.former = dup(STDERR_FILENO);
    if (fixture.former < 0 || pipe2(fixture.ends, O_CLOEXEC) != 0)
        return -1;
    (void)fcntl(fixture.ends[1], F_SETPIPE_SZ, 4096);
    *state = &fixture;
    return dup2(fixture.ends[1], STDERR_FILENO) < 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    dup2(fixture->former, STDERR_FILENO);
    close(fixture->former);
    close(fixture->ends[0]);
    close(fixture->ends[1]);
    return 0;
}

static void do_not_block(const struct fixture *fixture)
{
    assert_int_equal(fcntl(fixture->ends[1], F_SETFL, O_NONBLOCK), 0);
}

struct reader {
    int fd;
    char text[32768];
    size_t size;
};

static void *read_all(void *argument)
{
    struct reader *reader = argument;
    ssize_t got;
    while (reader->size < sizeof reader->text - 1 &&
           (got = read(reader->fd, reader->text + reader->size,
                       sizeof reader->text - 1 - reader->size)) > 0)
        reader->size += (size_t)got;
    reader->text[reader->size] = '\0';
    return NULL;
}

static void close_writer(struct fixture *fixture)
{
    dup2(fixture->former, STDERR_FILENO);
    close(fixture->ends[1]);
    fixture->ends[1] = dup(fixture->former); /* for the teardown */
}

static void test_a_line_waits_for_a_slow_reader(void **state)
{
    struct fixture *fixture = *state;
    static struct reader reader;
    static char field[10000];
    pthread_t thread;
    reader = (struct reader){.fd = fixture->ends[0]};
    memset(field, 'x', sizeof field - 1);
    do_not_block(fixture);
    CHECK_PTHREAD(pthread_create(&thread, NULL, read_all, &reader));
    log_line(LOG_INFO, "long", json_pack("{s:s}", "field", field));
    log_line(LOG_INFO, "short", NULL);
    close_writer(fixture);
    CHECK_PTHREAD(pthread_join(thread, NULL));
    char *end = strchr(reader.text, '\n');
    assert_non_null(end);
    assert_non_null(strstr(end + 1, "\"message\":\"short\"}\n"));
    assert_true((size_t)(end - reader.text) > sizeof field);
}

static void test_after_a_line_that_was_cut_the_next_begins_anew(void **state)
{
    struct fixture *fixture = *state;
    static struct reader reader;
    static char field[10000];
    reader = (struct reader){.fd = fixture->ends[0]};
    memset(field, 'x', sizeof field - 1);
    do_not_block(fixture);
    log_line(LOG_INFO, "long", json_pack("{s:s}", "field", field)); /* nobody reads for a second */
    char part[4096];
    assert_int_equal(read(fixture->ends[0], part, sizeof part), sizeof part);
    log_line(LOG_INFO, "short", NULL);
    close_writer(fixture);
    read_all(&reader);
    assert_int_equal(reader.text[0], '\n');
    assert_int_equal(reader.text[1], '{');
    assert_int_equal(reader.text[reader.size - 1], '\n');
}

static void test_a_deadline_bounds_a_write_that_nobody_reads(void **state)
{
    (void)state;
    static char bytes[20000];
    memset(bytes, 'x', sizeof bytes);
    int64_t began_ns = clock_now_ns();
    log_write_bytes_until(bytes, sizeof bytes, began_ns + CLOCK_NS_PER_S / 5);
    int64_t took_ns = clock_now_ns() - began_ns;
    assert_true(took_ns >= CLOCK_NS_PER_S / 5 - CLOCK_NS_PER_MS && took_ns < TEST_PATIENCE_NS);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(test_a_line_waits_for_a_slow_reader),
        ROW(test_after_a_line_that_was_cut_the_next_begins_anew),
        ROW(test_a_deadline_bounds_a_write_that_nobody_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
