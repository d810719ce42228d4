/* The pool's flight recorder as JSON lines, and the file that holds them. */
#include "service/http/pool_json.h"

#include "tests/support/json_expect.h"
#include "tests/support/pool_fixture.h"

#include "service/base/thread_state.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EVENTS = 32 };

static void open_recording(struct fixture *fixture, unsigned max_size)
{
    stub_init(&fixture->stub);
    struct db_pool_config config = make_config(&fixture->stub, max_size, 1);
    config.recorder_events = EVENTS;
    open_with(fixture, &config);
}

/* Reads the recorder's lines, each a JSON object, and returns their count. */
static size_t read_events(struct fixture *fixture, const char *address, json_t *events[EVENTS])
{
    struct text out = {0};
    size_t count = 0;
    assert_true(pool_json_events(fixture->pool, address, &out));
    for (const char *line = out.data; line && *line; line = strchr(line, '\n') + 1) {
        assert_true(count < EVENTS);
        size_t size = strcspn(line, "\n");
        assert_int_equal(line[size], '\n');
        events[count] = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(events[count++]);
    }
    text_clear(&out);
    return count;
}

static void free_events(json_t *events[EVENTS], size_t count)
{
    for (size_t i = 0; i < count; i++)
        json_decref(events[i]);
}

/* The first event of this name. */
static json_t *find(json_t *const events[EVENTS], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(json_text_at(events[i], "event"), name) == 0)
            return events[i];
    fail_msg("there is no event %s", name);
    return NULL;
}

static bool has(json_t *object, const char *name)
{
    return json_object_get(object, name) != NULL;
}

static void test_events_have_what_their_type_has(void **state)
{
    static const char *const order[] = {"ConnectionPoolCreated",     "ConnectionPoolReady",
                                        "ConnectionCheckOutStarted", "ConnectionCreated",
                                        "ConnectionReady",           "ConnectionCheckedOut",
                                        "ConnectionCheckedIn"};
    enum { COUNT = sizeof order / sizeof order[0] };
    struct fixture fixture;
    json_t *events[EVENTS];
    (void)state;
    open_recording(&fixture, 1);
    thread_state_enter("request", "r-9");
    struct db_slot *slot = checkout(&fixture);
    db_pool_checkin(fixture.pool, &slot);
    thread_state_leave();
    size_t count = read_events(&fixture, "host \"x\":1", events);
    assert_int_equal(count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_string_equal(json_text_at(events[i], "event"), order[i]);
        assert_string_equal(json_text_at(events[i], "address"), "host \"x\":1");
        assert_int_equal(strlen(json_text_at(events[i], "time")),
                         strlen("2026-01-31T23:59:59.999Z"));
        assert_true(json_integer_at(events[i], "thread") > 0);
        assert_int_equal(has(events[i], "connectionId"), i >= 3);
        assert_int_equal(has(events[i], "durationMS"), i == 4 || i == 5);
        assert_false(has(events[i], "reason"));
        assert_false(has(events[i], "interruptInUseConnections"));
        assert_int_equal(has(events[i], "request_id"), i == 2 || i >= 5);
    }
    assert_int_equal(json_integer_at(events[6], "connectionId"), 1);
    assert_int_equal(json_integer_at(events[6], "thread"), thread_state_tid());
    assert_string_equal(json_text_at(events[6], "request_id"), "r-9");
    free_events(events, count);
    close_pool(&fixture);
}

static void test_events_give_reasons_and_durations(void **state)
{
    struct fixture fixture;
    struct db_slot *none;
    struct failure failure;
    struct customer holder = {0};
    struct failure cause = {.kind = FAILURE_DATABASE, .message = "somebody said so"};
    json_t *events[EVENTS];
    (void)state;
    open_recording(&fixture, 1);
    start_customer(&holder, &fixture);
    wait_until(atomic_load(&holder.served) > 0);
    struct db_checkout request = in_time();
    request.deadline_ns = clock_now_ns() + 30 * CLOCK_NS_PER_MS;
    assert_false(db_pool_checkout(fixture.pool, &request, &none, &failure));
    stub_set_gate(&fixture.stub, true);
    db_pool_clear(fixture.pool, &cause, true);
    leave(&holder);
    size_t count = read_events(&fixture, "stub:1", events);
    json_t *failed = find(events, count, "ConnectionCheckOutFailed");
    assert_string_equal(json_text_at(failed, "reason"), "timeout");
    double waited_ms = json_real_value(json_object_get(failed, "durationMS"));
    assert_true(waited_ms >= 30 && waited_ms < (double)TEST_PATIENCE_NS / CLOCK_NS_PER_MS);
    assert_false(has(failed, "connectionId"));
    assert_true(json_is_true(json_object_get(find(events, count, "ConnectionPoolCleared"),
                                             "interruptInUseConnections")));
    assert_string_equal(json_text_at(find(events, count, "ConnectionClosed"), "reason"), "stale");
    free_events(events, count);
    stub_set_gate(&fixture.stub, false);
    close_pool(&fixture);
}

static void test_without_a_recorder_there_are_no_events(void **state)
{
    struct fixture fixture;
    struct text out = {0};
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    assert_true(pool_json_events(fixture.pool, "stub:1", &out));
    assert_null(out.data);
    close_pool(&fixture);
}

/* ---- the dump of it ---------------------------------------------------------------------------
 */

static void test_a_dump_is_the_events_in_a_new_file(void **state)
{
    struct fixture fixture;
    struct text events = {0};
    char dir[] = "/tmp/flashover-events-XXXXXX";
    char path[128];
    static char content[65536];
    (void)state;
    assert_non_null(mkdtemp(dir));
    open_recording(&fixture, 1);
    struct db_slot *slot = checkout(&fixture);
    db_pool_checkin(fixture.pool, &slot);
    assert_true(pool_json_dump_events(fixture.pool, "stub:1", dir, path, sizeof path));
    assert_memory_equal(path, dir, strlen(dir));
    assert_memory_equal(path + strlen(dir), "/pool-events-", strlen("/pool-events-"));
    assert_string_equal(path + strlen(path) - strlen(".jsonl"), ".jsonl");
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t size = fread(content, 1, sizeof content - 1, file);
    content[size] = '\0';
    fclose(file);
    /* the times are derived anew from the monotonic clock, and may be a millisecond off */
    assert_true(pool_json_events(fixture.pool, "stub:1", &events));
    assert_int_equal(size, events.size_bytes);
    assert_non_null(strstr(content, "\"ConnectionCheckedIn\",\"address\":\"stub:1\""));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    text_clear(&events);
    close_pool(&fixture);
}

static void test_a_dump_that_cannot_be_written_leaves_no_file(void **state)
{
    struct fixture fixture;
    char dir[] = "/tmp/flashover-events-XXXXXX";
    char path[128];
    struct rlimit former;
    (void)state;
    assert_non_null(mkdtemp(dir));
    open_recording(&fixture, 1);
    assert_false(
        pool_json_dump_events(fixture.pool, "stub:1", "/nowhere/at/all", path, sizeof path));
    assert_int_equal(errno, ENOENT);
    /* stands for a full disk: files cannot grow */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &former), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){16, former.rlim_max}), 0);
    bool written = pool_json_dump_events(fixture.pool, "stub:1", dir, path, sizeof path);
    int error = errno;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &former), 0);
    assert_false(written);
    assert_int_equal(error, EFBIG);
    assert_int_equal(rmdir(dir), 0); /* it is empty */
    close_pool(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_have_what_their_type_has),
        cmocka_unit_test(test_events_give_reasons_and_durations),
        cmocka_unit_test(test_without_a_recorder_there_are_no_events),
        cmocka_unit_test(test_a_dump_is_the_events_in_a_new_file),
        cmocka_unit_test(test_a_dump_that_cannot_be_written_leaves_no_file),
    };
    return cmocka_run_group_tests_name("pool_json_events", tests, NULL, NULL);
}
