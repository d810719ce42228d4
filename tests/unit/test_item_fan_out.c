/* What a request's thread and its items' threads tell each other: who decides, who is called off,
 * how long the handler waits. Items come by a "connection" that the test makes up. */
#include "tests/unit/pool_fixture.h"

#include "service/thread_state.h"
#include "service/variants/item_fan_out.h"

enum { ITEMS = 30 };

static struct fixture fixture;
static struct query_environment environment;
static _Atomic uint64_t item_failures[FAILURE_KINDS];
static _Atomic unsigned begun;
static _Atomic bool gate_closed;
static _Atomic int failing; /* how many items still are to fail */

static void concurrent_map_writes(void)
{
    fail_msg("nobody writes");
}

static const struct fatal_ops fatal_never = {"never", concurrent_map_writes};

static struct query_request make_request(const struct cancel_ops *cancel)
{
    int64_t deadline_ns = clock_now_ns() + TEST_PATIENCE_NS;
    environment = (struct query_environment){
        .pool = fixture.pool,
        .fan_out = {1000, (size_t)128 << 10, pthread_create},
        .item_failures = item_failures,
    };
    atomic_store(&begun, 0);
    return (struct query_request){
        .environment = &environment,
        .variants = {.map = &map_mutex, .fatal = &fatal_never, .cancel = cancel},
        .items = ITEMS,
        .deadline_ns = deadline_ns,
        .wait_ns = deadline_ns,
        .request_id = "r"};
}

/* The first to come fail, as many as are to; the others wait at the gate. */
static bool connect_or_fail(const struct query_request *request, const struct query_step *step,
                            struct failure *failure)
{
    (void)request, (void)step;
    unsigned turn = atomic_fetch_add(&begun, 1);
    if (atomic_fetch_sub(&failing, 1) > 0)
        return failure_set(failure, FAILURE_DATABASE, "failure %u", turn);
    while (atomic_load(&gate_closed))
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
    return true;
}

static void fetch_item(void *context, unsigned index)
{
    item_fan_out_fetch(context, index, connect_or_fail, "test");
}

/* One thread that fetches all items, one after the other. */
static void fetch_all(void *context, unsigned thread)
{
    (void)thread;
    for (unsigned index = 0; index < ITEMS; index++)
        fetch_item(context, index);
}

static bool run(const struct query_request *request, unsigned threads, fan_out_task *task,
                struct query_outcome *outcome)
{
    struct item_fan_out *items = item_fan_out_open(request, outcome);
    assert_non_null(items);
    items->list.ids = calloc(ITEMS, sizeof *items->list.ids);
    items->list.count = ITEMS;
    return item_fan_out_run(items, threads, task);
}

static void end_threads(void)
{
    atomic_store(&gate_closed, false);
    wait_until(fan_out_threads() == 0);
}

/* The others hang, and the deadline is far: the answer comes all the same. */
static void test_the_first_failure_is_the_answer(void **state)
{
    struct query_request request = make_request(&cancel_never);
    struct query_outcome outcome;
    (void)state;
    atomic_store(&gate_closed, true);
    atomic_store(&failing, 1);
    assert_false(run(&request, ITEMS, fetch_item, &outcome));
    assert_true(clock_now_ns() < request.deadline_ns);
    assert_true(fan_out_threads() > 0);
    assert_int_equal(outcome.failure.kind, FAILURE_DATABASE);
    assert_int_equal(outcome.failed_items[FAILURE_DATABASE], 1);
    assert_null(outcome.map);
    end_threads();
}

static void test_siblings_of_a_failed_item_do_not_begin(void **state)
{
    struct query_request request = make_request(&cancel_siblings);
    struct query_outcome outcome;
    (void)state;
    atomic_store(&failing, ITEMS);
    assert_false(run(&request, 1, fetch_all, &outcome));
    assert_string_equal(outcome.failure.message, "failure 0");
    assert_int_equal(begun, 1);
    assert_int_equal(outcome.failed_items[FAILURE_DATABASE], 1);
    assert_int_equal(outcome.failed_items[FAILURE_CALLED_OFF], ITEMS - 1);
    end_threads();
    request = make_request(&cancel_never);
    atomic_store(&failing, ITEMS);
    assert_false(run(&request, 1, fetch_all, &outcome));
    assert_string_equal(outcome.failure.message, "failure 0");
    end_threads();
    assert_int_equal(begun, ITEMS);
}

/* Past the deadline each item fails by itself, and says what of. */
static void test_a_deadline_calls_nobody_off(void **state)
{
    struct query_request request = make_request(&cancel_siblings);
    struct query_outcome outcome;
    (void)state;
    request.wait_ns = clock_now_ns();
    atomic_store(&failing, ITEMS);
    assert_false(run(&request, 1, fetch_all, &outcome));
    assert_int_equal(outcome.failed_items[FAILURE_CALLED_OFF], 0);
    end_threads();
    assert_int_equal(begun, ITEMS);
}

static void test_nobody_waits_beyond_the_deadline(void **state)
{
    struct query_request request = make_request(&cancel_siblings);
    struct query_outcome outcome;
    (void)state;
    atomic_store(&gate_closed, true);
    atomic_store(&failing, 0);
    request.deadline_ns = clock_now_ns() + 100 * CLOCK_NS_PER_MS;
    assert_false(run(&request, ITEMS, fetch_item, &outcome));
    assert_int_equal(outcome.failure.kind, FAILURE_REQUEST_DEADLINE);
    end_threads();
}

/* Without a failure, and without the rows. */
static void test_a_partial_answer_is_an_error(void **state)
{
    struct query_request request = make_request(&cancel_siblings);
    struct query_outcome outcome;
    (void)state;
    atomic_store(&failing, 0);
    assert_false(run(&request, ITEMS, fetch_item, &outcome));
    assert_int_equal(outcome.failure.kind, FAILURE_INCOMPLETE);
    end_threads();
}

/* The threads that there were no room for have failed, so the others are called off. */
static void test_too_few_threads(void **state)
{
    struct query_request request = make_request(&cancel_siblings);
    struct query_outcome outcome;
    (void)state;
    atomic_store(&gate_closed, true);
    atomic_store(&failing, 0);
    environment.fan_out.max_threads = 3;
    assert_false(run(&request, ITEMS, fetch_item, &outcome));
    assert_int_equal(outcome.failure.kind, FAILURE_LIMIT);
    end_threads();
}

static int open_fixture(void **state)
{
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    close_pool(&fixture);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_failure_is_the_answer),
        cmocka_unit_test(test_siblings_of_a_failed_item_do_not_begin),
        cmocka_unit_test(test_a_deadline_calls_nobody_off),
        cmocka_unit_test(test_nobody_waits_beyond_the_deadline),
        cmocka_unit_test(test_a_partial_answer_is_an_error),
        cmocka_unit_test(test_too_few_threads),
    };
    return cmocka_run_group_tests_name("item_fan_out", tests, open_fixture, close_fixture);
}
