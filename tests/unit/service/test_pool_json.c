/* The pool's state in JSON. The tests bring about each state of the pool and its connections. */
#include "service/http/pool_json.h"

#include "tests/support/json_expect.h"
#include "tests/support/pool_fixture.h"

#include "service/base/thread_state.h"

enum { SIZE = 3 };

/* ---- the pool as it is ------------------------------------------------------------------------
 */

struct counts {
    int max, total, idle, used, connecting, draining, closing, waiting;
};

static json_t *look(struct fixture *fixture, enum db_pool_moment moment)
{
    json_t *document = pool_json_view(fixture->pool, moment);
    assert_non_null(document);
    return document;
}

/* Reads `counts`, which must have exactly these members. */
static struct counts read_counts(json_t *document)
{
    struct counts c;
    assert_int_equal(json_unpack(json_object_get(document, "counts"),
                                 "{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i !}", "max", &c.max,
                                 "total", &c.total, "idle", &c.idle, "used", &c.used, "connecting",
                                 &c.connecting, "draining", &c.draining, "closing", &c.closing,
                                 "waiting", &c.waiting),
                     0);
    return c;
}

static struct counts count(struct fixture *fixture)
{
    json_t *document = look(fixture, DB_POOL_NOW);
    struct counts counts = read_counts(document);
    json_decref(document);
    return counts;
}

static void test_a_pool_at_rest(void **state)
{
    struct fixture fixture;
    json_t *error, *holders;
    const char *name, *verdict, *evidence;
    int age_ms, generation, waited_ms;
    struct counts counts;
    json_t *counts_object;
    (void)state;
    open_pool(&fixture, SIZE, 2, 100);
    struct db_slot *slot = checkout(&fixture);
    db_pool_checkin(fixture.pool, &slot);
    json_t *now = look(&fixture, DB_POOL_NOW);
    assert_int_equal(json_unpack(now, "{s:i, s:s, s:i, s:o, s:i, s:o, s:s, s:s, s:o !}", "age_ms",
                                 &age_ms, "state", &name, "generation", &generation, "counts",
                                 &counts_object, "waited_ms", &waited_ms, "last_connect_error",
                                 &error, "verdict", &verdict, "evidence", &evidence, "holders",
                                 &holders),
                     0);
    assert_in_range(age_ms, 0, TEST_PATIENCE_NS / CLOCK_NS_PER_MS);
    assert_string_equal(name, "ready");
    assert_int_equal(generation, 0);
    assert_int_equal(waited_ms, 0);
    assert_true(json_is_null(error));
    assert_string_equal(verdict, "none");
    assert_string_equal(evidence, "");
    assert_true(json_is_array(holders));
    assert_int_equal(json_array_size(holders), 0);
    counts = read_counts(now);
    assert_int_equal(counts.max, SIZE);
    assert_int_equal(counts.total, 1);
    assert_int_equal(counts.idle, 1);
    json_decref(now);
    close_pool(&fixture);
}

static void test_a_holder_is_told_by_thread_request_and_place(void **state)
{
    struct fixture fixture;
    struct db_slot *slot;
    struct failure failure;
    struct db_checkout request = in_time();
    (void)state;
    open_pool(&fixture, SIZE, 1, 100);
    request.call_site = "query.c:run";
    request.query = "feed";
    thread_state_enter("request", "r-17");
    assert_true(db_pool_checkout(fixture.pool, &request, &slot, &failure));
    const struct stub_connection *connection = db_slot_connection(slot);
    json_t *now = look(&fixture, DB_POOL_NOW);
    json_t *holders = json_object_get(now, "holders");
    assert_int_equal(json_array_size(holders), 1);
    json_t *holder = json_array_get(holders, 0);
    assert_int_equal(json_object_size(holder), 9);
    assert_int_equal(json_integer_at(holder, "connection_id"), 1);
    assert_int_equal(json_integer_at(holder, "backend_pid"), connection->id);
    assert_int_equal(json_integer_at(holder, "thread"), thread_state_tid());
    assert_true(json_is_true(json_object_get(holder, "thread_alive")));
    assert_string_equal(json_text_at(holder, "request_id"), "r-17");
    assert_in_range(json_integer_at(holder, "age_ms"), 0, TEST_PATIENCE_NS / CLOCK_NS_PER_MS);
    assert_string_equal(json_text_at(holder, "query"), "feed");
    assert_string_equal(json_text_at(holder, "call_site"), "query.c:run");
    assert_int_equal(read_counts(now).used, 1);
    json_decref(now);
    db_pool_checkin(fixture.pool, &slot);
    thread_state_leave();
    close_pool(&fixture);
}

static void test_a_holders_transaction_is_named(void **state)
{
    static const char *const names[] = {[DB_CONN_IDLE] = "none",
                                        [DB_CONN_IN_TRANSACTION] = "in transaction",
                                        [DB_CONN_BUSY] = "active",
                                        [DB_CONN_BROKEN] = "broken",
                                        [DB_CONN_OUTDATED] = "outdated"};
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct db_slot *slot = checkout(&fixture);
    struct stub_connection *connection = db_slot_connection(slot);
    for (enum db_conn_state left = DB_CONN_IDLE; left <= DB_CONN_OUTDATED; left++) {
        atomic_store(&connection->state, left);
        json_t *now = look(&fixture, DB_POOL_NOW);
        json_t *holder = json_array_get(json_object_get(now, "holders"), 0);
        assert_string_equal(json_text_at(holder, "transaction"), names[left]);
        json_decref(now);
    }
    db_pool_checkin(fixture.pool, &slot);
    close_pool(&fixture);
}

/* Connections that are idle, in use, being made, draining (the answer is still to come) and closing
 * (the server has not let go), and a thread in the queue: each counts as what it is. */
static void test_every_state_of_a_connection_is_counted(void **state)
{
    struct fixture fixture;
    struct db_slot *slots[4];
    struct customer customer = {0};
    (void)state;
    open_pool(&fixture, 5, 1, TEST_PATIENCE_NS / CLOCK_NS_PER_MS);
    atomic_store(&fixture.stub.cancels, STUB_NO_CANCEL);
    stub_set_clinging(&fixture.stub, true);
    for (int i = 0; i < 4; i++)
        slots[i] = checkout(&fixture);
    struct stub_connection *busy = db_slot_connection(slots[1]);
    struct stub_connection *broken = db_slot_connection(slots[2]);
    atomic_store(&busy->next_state, DB_CONN_BUSY);
    atomic_store(&busy->state, DB_CONN_BUSY);
    atomic_store(&broken->state, DB_CONN_BROKEN);
    db_pool_checkin(fixture.pool, &slots[1]);
    db_pool_checkin(fixture.pool, &slots[2]);
    wait_until(count(&fixture).closing == 1);
    stub_set_gate(&fixture.stub, true);
    queue_up(&customer, &fixture, 1);
    wait_until(count(&fixture).connecting == 1);
    struct counts counts = count(&fixture);
    assert_int_equal(counts.max, 5);
    assert_int_equal(counts.used, 2);
    assert_int_equal(counts.draining, 1);
    assert_int_equal(counts.waiting, 1);
    assert_int_equal(counts.idle, 0);
    assert_int_equal(counts.total, 5);
    db_pool_checkin(fixture.pool, &slots[0]);
    wait_until(atomic_load(&customer.served) == 1);
    db_pool_checkin(fixture.pool, &slots[3]);
    counts = count(&fixture);
    assert_int_equal(counts.idle, 1);
    assert_int_equal(counts.used, 1);
    assert_int_equal(counts.waiting, 0);
    stub_answer(busy, DB_CONN_IDLE);
    stub_set_gate(&fixture.stub, false);
    stub_set_clinging(&fixture.stub, false);
    leave(&customer);
    close_pool(&fixture);
}

static void test_a_cleared_pool_is_paused_and_a_generation_on(void **state)
{
    struct fixture fixture;
    struct failure cause = {.kind = FAILURE_DATABASE, .message = "somebody said so"};
    (void)state;
    open_pool(&fixture, SIZE, 1, 100);
    stub_set_gate(&fixture.stub, true);
    db_pool_clear(fixture.pool, &cause, false);
    json_t *now = look(&fixture, DB_POOL_NOW);
    assert_string_equal(json_text_at(now, "state"), "paused");
    assert_int_equal(json_integer_at(now, "generation"), 1);
    assert_string_equal(json_text_at(now, "verdict"), "paused");
    assert_non_null(strstr(json_text_at(now, "evidence"), "generation 1"));
    json_decref(now);
    stub_set_gate(&fixture.stub, false);
    close_pool(&fixture);
}

/* ---- a checkout that timed out ----------------------------------------------------------------
 */

static void time_out(struct fixture *fixture, int64_t ms)
{
    struct db_slot *slot;
    struct failure failure;
    struct db_checkout request = in_time();
    request.deadline_ns = clock_now_ns() + ms * CLOCK_NS_PER_MS;
    assert_false(db_pool_checkout(fixture->pool, &request, &slot, &failure));
    assert_int_equal(failure.kind, FAILURE_CHECKOUT_TIMEOUT);
}

static void *take_and_end(void *argument)
{
    thread_state_enter("item", "r-1");
    struct db_slot *slot = checkout(argument);
    thread_state_leave();
    return slot;
}

/* The thread is gone, but its connection is still out. The report shows the state at the timeout,
 * even after the connection is back. */
static void test_a_leak_is_told_as_it_was_at_the_timeout(void **state)
{
    struct fixture fixture;
    pthread_t thread;
    void *leaked;
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    json_t *then = look(&fixture, DB_POOL_AT_LAST_TIMEOUT);
    assert_true(json_is_null(then)); /* none has timed out yet */
    json_decref(then);
    CHECK_PTHREAD(pthread_create(&thread, NULL, take_and_end, &fixture));
    CHECK_PTHREAD(pthread_join(thread, &leaked));
    time_out(&fixture, 30);
    struct db_slot *slot = leaked;
    db_pool_checkin(fixture.pool, &slot);

    then = look(&fixture, DB_POOL_AT_LAST_TIMEOUT);
    json_t *holder = json_array_get(json_object_get(then, "holders"), 0);
    assert_true(json_is_false(json_object_get(holder, "thread_alive")));
    assert_string_equal(json_text_at(holder, "request_id"), "r-1");
    assert_in_range(json_integer_at(holder, "age_ms"), 30, TEST_PATIENCE_NS / CLOCK_NS_PER_MS);
    assert_in_range(json_integer_at(then, "waited_ms"), 30, TEST_PATIENCE_NS / CLOCK_NS_PER_MS);
    assert_string_equal(json_text_at(then, "verdict"), "leak");
    assert_non_null(strstr(json_text_at(then, "evidence"), "1 of 1 connections"));
    assert_int_equal(read_counts(then).used, 1);
    json_decref(then);
    assert_int_equal(count(&fixture).used, 0);
    close_pool(&fixture);
}

/* ---- connects that failed ----------------------------------------------------------------------
 */

static const char *refusal; /* the message of failed connects; set before the pool opens */

static void *refuse(void *context, int64_t deadline_ns, int interrupt_fd, struct failure *failure)
{
    (void)context, (void)deadline_ns, (void)interrupt_fd;
    (void)failure_set(failure, FAILURE_UNAVAILABLE, "%s", refusal);
    memcpy(failure->sqlstate, "53300", sizeof failure->sqlstate);
    return NULL;
}

/* Looks at a pool whose first connect was refused. */
static json_t *look_at_a_refused_pool(const char *message)
{
    struct fixture fixture;
    stub_init(&fixture.stub);
    struct db_pool_config config = make_config(&fixture.stub, SIZE, 1);
    config.min_size = 1;
    config.connector.connect = refuse;
    refusal = message;
    open_with(&fixture, &config);
    wait_until(db_pool_count(fixture.pool).state == DB_POOL_PAUSED);
    json_t *now = pool_json_view(fixture.pool, DB_POOL_NOW);
    close_pool(&fixture);
    assert_non_null(now);
    return now;
}

static void test_the_last_connect_error_is_told(void **state)
{
    (void)state;
    json_t *now = look_at_a_refused_pool("no room");
    json_t *error = json_object_get(now, "last_connect_error");
    assert_int_equal(json_object_size(error), 4);
    assert_string_equal(json_text_at(error, "error"), "no room");
    assert_string_equal(json_text_at(error, "sqlstate"), "53300");
    assert_in_range(json_integer_at(error, "age_ms"), 0, TEST_PATIENCE_NS / CLOCK_NS_PER_MS);
    assert_in_range(json_integer_at(error, "failures_in_a_row"), 1, 1000);
    assert_string_equal(json_text_at(now, "verdict"), "server_full");
    assert_non_null(strstr(json_text_at(now, "evidence"), "no room"));
    json_decref(now);
}

/* A server's or host's message may have non-ASCII letters. One that is too long is cut in the
 * middle of a letter, and the pool is still reported. */
static void test_a_message_that_is_cut_within_a_letter_hides_nothing(void **state)
{
    char message[FAILURE_MESSAGE_SIZE] = "";
    (void)state;
    for (size_t shift = 0; shift < 2; shift++) {
        size_t size = shift;
        memset(message, 'x', size);
        for (; size + 2 < sizeof message; size += 2)
            memcpy(message + size, "\xc3\xbc", 3);
        json_t *now = look_at_a_refused_pool(message);
        assert_string_equal(json_text_at(now, "verdict"), "server_full");
        assert_non_null(strstr(json_text_at(now, "evidence"), "\xc3\xbc\xc3\xbc"));
        json_decref(now);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pool_at_rest),
        cmocka_unit_test(test_a_holder_is_told_by_thread_request_and_place),
        cmocka_unit_test(test_a_holders_transaction_is_named),
        cmocka_unit_test(test_every_state_of_a_connection_is_counted),
        cmocka_unit_test(test_a_cleared_pool_is_paused_and_a_generation_on),
        cmocka_unit_test(test_a_leak_is_told_as_it_was_at_the_timeout),
        cmocka_unit_test(test_the_last_connect_error_is_told),
        cmocka_unit_test(test_a_message_that_is_cut_within_a_letter_hides_nothing),
    };
    return cmocka_run_group_tests_name("pool_json", tests, NULL, NULL);
}
