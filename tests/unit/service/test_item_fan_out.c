/* How a request's thread and its items' threads work together: which failure is the answer, which
 * items are called off, how long the handler waits. The pool's connections are a stub's. */
#include "tests/support/pool_fixture.h"

#include "service/base/thread_state.h"
#include "service/variants/query/item_fan_out.h"

enum { ITEMS = 30 };

static struct fixture fixture;
static struct query_environment environment;
static _Atomic uint64_t item_failures[FAILURE_KINDS];
static _Atomic unsigned begun;
static _Atomic bool gate_closed;
static _Atomic int failing; /* how many more items are to fail */

static void concurrent_map_writes(void)
{
    fail_msg("nobody writes");
}

static const struct fatal_ops fatal_never = {concurrent_map_writes};

static struct query_request make_request(const struct cancel_ops *cancel)
{
    int64_t deadline_ns = clock_now_ns() + TEST_PATIENCE_NS;
    environment = (struct query_environment){
        .pool = fixture.pool,
        .threads = {.max_threads = 1000,
                    .stack_bytes = (size_t)128 << 10,
                    .create = pthread_create},
        .item_failures = item_failures,
    };
    atomic_store(&begun, 0);
    return (struct query_request){.environment = &environment,
                                  .variants = {.map = &map_mutex,
                                               .fatal = &fatal_never,
                                               .cancel = cancel,
                                               .admission = &admission_deadline,
                                               .release = &release_always},
                                  .items = ITEMS,
                                  .deadline_ns = deadline_ns,
                                  .wait_ns = deadline_ns,
                                  .request_id = "r"};
}

/* The first `failing` items fail. The others wait at the gate. */
static bool use_connection(struct failure *failure)
{
    unsigned turn = atomic_fetch_add(&begun, 1);
    if (atomic_fetch_sub(&failing, 1) > 0)
        return failure_set(failure, FAILURE_DATABASE, "failure %u", turn);
    while (atomic_load(&gate_closed))
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
    return true;
}

/* There is a connection for each item. */
static void fetch_item(void *context, unsigned index)
{
    struct item_fan_out *items = context;
    struct db_slot *slot;
    struct failure failure;
    (void)index;
    bool ok = query_checkout(&items->request, "test", "none", &items->group, &slot, &failure);
    if (ok) {
        ok = use_connection(&failure);
        query_checkin(&items->request, &slot, ok, &failure);
    }
    if (!ok)
        item_fan_out_item_failed(items, &failure);
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
    bool may_start = item_fan_out_take(items, threads);
    for (unsigned thread = 0; may_start && thread < threads; thread++)
        may_start = item_fan_out_start(items, task, thread);
    item_fan_out_wait(items);
    return item_fan_out_collect(items);
}

static void end_threads(void)
{
    atomic_store(&gate_closed, false);
    wait_until(cached_threads_count().at_work == 0);
}

/* The other items hang and the deadline is far away, but the answer comes. */
static void test_the_first_failure_is_the_answer(void **state)
{
    struct query_request request = make_request(&cancel_never);
    struct query_outcome outcome;
    (void)state;
    atomic_store(&gate_closed, true);
    atomic_store(&failing, 1);
    assert_false(run(&request, ITEMS, fetch_item, &outcome));
    assert_true(clock_now_ns() < request.deadline_ns);
    assert_true(cached_threads_count().at_work > 0);
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

/* Past the deadline no item is called off. Each fails by itself, with its own failure. */
static void test_a_deadline_calls_nobody_off(void **state)
{
    struct query_request request = make_request(&cancel_siblings);
    struct query_outcome outcome;
    (void)state;
    request.wait_ns = clock_now_ns();
    atomic_store(&failing, 0);
    assert_false(run(&request, 1, fetch_all, &outcome));
    assert_int_equal(outcome.failed_items[FAILURE_CALLED_OFF], 0);
    assert_int_equal(outcome.failed_items[FAILURE_CHECKOUT_TIMEOUT], ITEMS);
    end_threads();
    assert_int_equal(begun, 0);
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

/* No item fails, but there are no rows. */
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

/* No item begins. */
static void test_too_few_threads(void **state)
{
    struct query_request request = make_request(&cancel_siblings);
    struct query_outcome outcome;
    (void)state;
    atomic_store(&gate_closed, true);
    atomic_store(&failing, 0);
    environment.threads.max_threads = 3;
    assert_false(run(&request, ITEMS, fetch_item, &outcome));
    assert_int_equal(outcome.failure.kind, FAILURE_LIMIT);
    end_threads();
}

static int open_fixture(void **state)
{
    (void)state;
    open_pool(&fixture, ITEMS, 4, 100);
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
