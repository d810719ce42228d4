/* Fan-out and WaitGroup: every task once, limits, a thread that cannot be started, one that comes
 * late. */
#include "tests/unit/support.h"

#include "service/fan_out.h"
#include "service/thread_state.h"

#include <errno.h>
#include <stdatomic.h>

enum { TASKS = 50 };

struct shared {
    _Atomic unsigned runs[TASKS];
    _Atomic bool gate_closed;
    _Atomic unsigned entered;
};

static _Atomic unsigned frees;

static void task(void *argument, unsigned index)
{
    struct shared *shared = argument;
    atomic_fetch_add(&shared->entered, 1);
    while (atomic_load(&shared->gate_closed))
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
    atomic_fetch_add(&shared->runs[index], 1);
}

static void free_shared(void *shared)
{
    atomic_fetch_add(&frees, 1);
    free(shared);
}

static struct shared *make_shared(bool gate_closed)
{
    struct shared *shared = calloc(1, sizeof *shared);
    assert_non_null(shared);
    atomic_store(&shared->gate_closed, gate_closed);
    atomic_store(&frees, 0);
    return shared;
}

static struct fan_out_limits limits(unsigned max_threads)
{
    return (struct fan_out_limits){max_threads, (size_t)128 << 10, pthread_create};
}

static int64_t in_time(void)
{
    return clock_now_ns() + TEST_PATIENCE_NS;
}

static struct fan_out *start_tasks(const struct fan_out_limits *limits, struct shared *shared,
                                   unsigned count, int64_t deadline_ns, struct failure *failure)
{
    const struct fan_out_job job = {.count = count,
                                    .task = task,
                                    .shared = shared,
                                    .free_shared = free_shared,
                                    .request_id = "r",
                                    .deadline_ns = deadline_ns};
    struct fan_out *fan_out = fan_out_start(limits, &job, failure);
    assert_non_null(fan_out);
    return fan_out;
}

static void test_every_task_runs_once(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(false);
    struct fan_out_limits roomy = limits(1000);
    (void)state;
    struct fan_out *fan_out = start_tasks(&roomy, shared, TASKS, in_time(), &failure);
    assert_int_equal(failure.kind, FAILURE_NONE);
    assert_true(fan_out_wait(fan_out, in_time()));
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(shared->runs[i], 1);
    fan_out_release(&fan_out);
    assert_null(fan_out);
    wait_until(fan_out_threads() == 0);
    assert_int_equal(frees, 1);
}

/* The handler gives up and goes; the threads that come late find everything still there, and the
 * last of them frees it. */
static void test_late_threads_outlive_the_caller(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(true);
    struct fan_out_limits roomy = limits(1000);
    (void)state;
    struct fan_out *fan_out = start_tasks(&roomy, shared, 3, in_time(), &failure);
    assert_false(fan_out_wait(fan_out, clock_now_ns() + 10 * CLOCK_NS_PER_MS));
    fan_out_release(&fan_out);
    assert_int_equal(frees, 0);
    assert_int_equal(fan_out_threads(), 3);
    atomic_store(&shared->gate_closed, false);
    wait_until(fan_out_threads() == 0);
    assert_int_equal(frees, 1);
}

static void test_limit_of_threads(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(false);
    struct fan_out_limits tight = limits(7);
    (void)state;
    atomic_store(&shared->gate_closed, true);
    struct fan_out *fan_out = start_tasks(&tight, shared, TASKS, in_time(), &failure);
    assert_int_equal(failure.kind, FAILURE_LIMIT);
    assert_string_equal(failure.message, "too many threads: the limit is 7");
    assert_int_equal(fan_out_threads(), 7);
    atomic_store(&shared->gate_closed, false);
    assert_true(fan_out_wait(fan_out, in_time())); /* those not started count as done */
    assert_int_equal(shared->entered, 7);
    fan_out_release(&fan_out);
    wait_until(fan_out_threads() == 0);
    assert_int_equal(frees, 1);
}

static _Atomic unsigned creates_left;

static int create_until_told_not_to(pthread_t *thread, const pthread_attr_t *attributes,
                                    void *(*start)(void *), void *argument)
{
    if (atomic_load(&creates_left) == 0)
        return EAGAIN;
    atomic_fetch_sub(&creates_left, 1);
    return pthread_create(thread, attributes, start, argument);
}

static void test_nth_pthread_create_fails(void **state)
{
    (void)state;
    for (unsigned n = 0; n < TASKS; n++) {
        struct failure failure = {0};
        struct shared *shared = make_shared(false);
        struct fan_out_limits failing = {1000, (size_t)128 << 10, create_until_told_not_to};
        atomic_store(&creates_left, n);
        struct fan_out *fan_out = start_tasks(&failing, shared, TASKS, in_time(), &failure);
        assert_int_equal(failure.kind, FAILURE_LIMIT);
        assert_non_null(strstr(failure.message, "cannot start a thread"));
        assert_true(fan_out_wait(fan_out, in_time()));
        assert_int_equal(shared->entered, n);
        fan_out_release(&fan_out);
        wait_until(fan_out_threads() == 0);
        assert_int_equal(frees, 1);
    }
}

static int64_t slow_until_ns;

/* The third thread takes until the deadline to be started. */
static int create_slowly(pthread_t *thread, const pthread_attr_t *attributes,
                         void *(*start)(void *), void *argument)
{
    if (atomic_fetch_sub(&creates_left, 1) == 1)
        wait_until(clock_now_ns() >= slow_until_ns);
    return pthread_create(thread, attributes, start, argument);
}

/* A machine that is short of CPU takes long to start 300 threads: the request must not wait for
 * that. */
static void test_no_thread_is_started_after_the_deadline(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(false);
    struct fan_out_limits slow = {1000, (size_t)128 << 10, create_slowly};
    (void)state;
    atomic_store(&creates_left, 3);
    slow_until_ns = clock_now_ns() + 500 * CLOCK_NS_PER_MS;
    struct fan_out *fan_out = start_tasks(&slow, shared, TASKS, slow_until_ns, &failure);
    assert_int_equal(failure.kind, FAILURE_NONE);
    wait_until(fan_out_threads() == 0);
    assert_int_equal(shared->entered, 3);
    assert_false(fan_out_wait(fan_out, clock_now_ns()));
    fan_out_release(&fan_out);
    assert_int_equal(frees, 1);
}

/* Where LeakSanitizer finds it; volatile, or the compiler would not keep what nobody reads. */
static struct fan_out *volatile left_behind;

static void exit_first(void *argument, unsigned index)
{
    task(argument, index);
    if (index == 0)
        pthread_exit(NULL);
}

/* What a thread that ends within its task leaves behind: no thread and no entry in the list, but a
 * WaitGroup that never falls to 0, and a state that nobody frees. */
static void test_a_thread_that_ends_in_its_task_is_never_done(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(false);
    struct fan_out_limits roomy = limits(1000);
    const struct fan_out_job job = {.count = TASKS,
                                    .task = exit_first,
                                    .shared = shared,
                                    .free_shared = free_shared,
                                    .request_id = "r",
                                    .deadline_ns = in_time()};
    struct thread_view *views;
    (void)state;
    struct fan_out *fan_out = fan_out_start(&roomy, &job, &failure);
    left_behind = fan_out;
    wait_until(fan_out_threads() == 0);
    assert_int_equal(shared->entered, TASKS);
    assert_false(fan_out_wait(fan_out, clock_now_ns()));
    assert_int_equal(thread_state_list(&views), 0);
    free(views);
    fan_out_release(&fan_out);
    assert_int_equal(frees, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_task_runs_once),
        cmocka_unit_test(test_late_threads_outlive_the_caller),
        cmocka_unit_test(test_limit_of_threads),
        cmocka_unit_test(test_nth_pthread_create_fails),
        cmocka_unit_test(test_no_thread_is_started_after_the_deadline),
        cmocka_unit_test(test_a_thread_that_ends_in_its_task_is_never_done),
    };
    return cmocka_run_group_tests_name("fan_out", tests, NULL, NULL);
}
