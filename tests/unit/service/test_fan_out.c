/* Fan-out and WaitGroup: each task runs once; limits; a thread that cannot be started; a late
 * thread. */
#include "tests/support/support.h"

#include "service/base/thread_state.h"
#include "service/variants/fan_out/fan_out.h"

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

/* Threads that end after their task. */
static struct cached_threads_config limits(unsigned max_threads)
{
    return (struct cached_threads_config){
        .max_threads = max_threads, .stack_bytes = (size_t)128 << 10, .create = pthread_create};
}

static unsigned at_work(void)
{
    return cached_threads_count().at_work;
}

static int64_t in_time(void)
{
    return clock_now_ns() + TEST_PATIENCE_NS;
}

static struct fan_out *start_tasks(const struct cached_threads_config *limits,
                                   struct shared *shared, fan_out_task *run, unsigned count,
                                   int64_t deadline_ns, struct failure *failure)
{
    const struct fan_out_job job = {.max_tasks = count,
                                    .shared = shared,
                                    .free_shared = free_shared,
                                    .request_id = "r",
                                    .deadline_ns = deadline_ns};
    struct fan_out *fan_out = fan_out_open(limits, &job, failure);
    assert_non_null(fan_out);
    bool may_start = fan_out_take(fan_out, count, failure);
    for (unsigned index = 0; may_start && index < count; index++)
        may_start = fan_out_start(fan_out, run, index);
    return fan_out;
}

static void test_every_task_runs_once(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(false);
    struct cached_threads_config roomy = limits(1000);
    (void)state;
    struct fan_out *fan_out = start_tasks(&roomy, shared, task, TASKS, in_time(), &failure);
    assert_int_equal(failure.kind, FAILURE_NONE);
    assert_true(fan_out_wait(fan_out, in_time()));
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(shared->runs[i], 1);
    fan_out_release(&fan_out);
    assert_null(fan_out);
    wait_until(at_work() == 0);
    assert_int_equal(frees, 1);
}

/* A thread's entry follows it from request to request. */
static void test_threads_work_for_the_request(void **state)
{
    struct cached_threads_config kept = limits(1000);
    (void)state;
    kept.idle_ns = CLOCK_NS_PER_S;
    for (int round = 0; round < 3; round++) {
        struct failure failure = {0};
        struct thread_view *views;
        enum thread_state doing;
        struct shared *shared = make_shared(true);
        struct fan_out *fan_out = start_tasks(&kept, shared, task, TASKS, in_time(), &failure);
        wait_until(atomic_load(&shared->entered) == TASKS);
        assert_int_equal(thread_state_list(&views), TASKS);
        for (int i = 0; i < TASKS; i++) {
            assert_string_equal(views[i].request, "r");
            assert_int_equal(views[i].state, THREAD_RUNNING);
            assert_true(thread_state_is_at(views[i].tid, views[i].turn, &doing));
            assert_false(thread_state_is_at(views[i].tid, views[i].turn + TASKS, &doing));
        }
        atomic_store(&shared->gate_closed, false);
        assert_true(fan_out_wait(fan_out, in_time()));
        fan_out_release(&fan_out);
        wait_until(at_work() == 0);
        for (int i = 0; i < TASKS; i++)
            assert_false(thread_state_is_at(views[i].tid, views[i].turn, &doing));
        free(views);
    }
    wait_until(cached_threads_count().idle == 0);
}

/* The handler gives up and leaves. Late threads still find the shared state, and the last one frees
 * it. */
static void test_late_threads_outlive_the_caller(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(true);
    struct cached_threads_config roomy = limits(1000);
    (void)state;
    struct fan_out *fan_out = start_tasks(&roomy, shared, task, 3, in_time(), &failure);
    assert_false(fan_out_wait(fan_out, clock_now_ns() + 10 * CLOCK_NS_PER_MS));
    fan_out_release(&fan_out);
    assert_int_equal(frees, 0);
    assert_int_equal(at_work(), 3);
    atomic_store(&shared->gate_closed, false);
    wait_until(at_work() == 0);
    assert_int_equal(frees, 1);
}

/* No thread was started, so the caller's reference is the last. */
static void test_without_threads_there_is_nothing_to_wait_for(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(false);
    struct cached_threads_config roomy = limits(1000);
    (void)state;
    struct fan_out *fan_out = start_tasks(&roomy, shared, task, 1, 0, &failure);
    assert_int_equal(failure.kind, FAILURE_NONE);
    assert_false(fan_out_wait(fan_out, clock_now_ns()));
    fan_out_release(&fan_out);
    assert_int_equal(frees, 1);
    const struct fan_out_job job = {.max_tasks = TASKS,
                                    .shared = make_shared(false),
                                    .free_shared = free_shared,
                                    .request_id = "r",
                                    .deadline_ns = in_time()};
    fan_out = fan_out_open(&roomy, &job, &failure);
    assert_non_null(fan_out);
    assert_true(fan_out_wait(fan_out, in_time()));
    fan_out_release(&fan_out);
    assert_int_equal(frees, 1);
}

static void test_limit_of_threads(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(false);
    struct cached_threads_config tight = limits(7);
    (void)state;
    struct fan_out *fan_out = start_tasks(&tight, shared, task, TASKS, in_time(), &failure);
    assert_int_equal(failure.kind, FAILURE_LIMIT);
    assert_string_equal(failure.message, "too many threads: the limit is 7");
    assert_true(fan_out_wait(fan_out, in_time())); /* there is nobody to wait for */
    assert_int_equal(shared->entered, 0);
    fan_out_release(&fan_out);
    wait_until(at_work() == 0);
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
        struct cached_threads_config failing = limits(1000);
        failing.create = create_until_told_not_to;
        atomic_store(&creates_left, n);
        struct fan_out *fan_out = start_tasks(&failing, shared, task, TASKS, in_time(), &failure);
        assert_int_equal(failure.kind, FAILURE_LIMIT);
        assert_non_null(strstr(failure.message, "cannot start a thread"));
        assert_true(fan_out_wait(fan_out, in_time()));
        assert_int_equal(shared->entered, 0);
        fan_out_release(&fan_out);
        wait_until(at_work() == 0);
        assert_int_equal(frees, 1);
    }
}

static int64_t slow_until_ns;

/* The third thread's start takes until the deadline. */
static int create_slowly(pthread_t *thread, const pthread_attr_t *attributes,
                         void *(*start)(void *), void *argument)
{
    if (atomic_fetch_sub(&creates_left, 1) == 1)
        wait_until(clock_now_ns() >= slow_until_ns);
    return pthread_create(thread, attributes, start, argument);
}

/* A machine that is short of CPU takes long to start 300 threads. The request must not wait for
 * that. */
static void test_no_thread_is_started_after_the_deadline(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(false);
    struct cached_threads_config slow = limits(1000);
    slow.create = create_slowly;
    (void)state;
    atomic_store(&creates_left, 3);
    slow_until_ns = clock_now_ns() + 500 * CLOCK_NS_PER_MS;
    struct fan_out *fan_out = start_tasks(&slow, shared, task, TASKS, slow_until_ns, &failure);
    assert_int_equal(failure.kind, FAILURE_NONE);
    wait_until(at_work() == 0);
    assert_int_equal(shared->entered, 0);
    assert_false(fan_out_wait(fan_out, clock_now_ns()));
    fan_out_release(&fan_out);
    assert_int_equal(frees, 1);
}

/* Keeps the state reachable for LeakSanitizer. Volatile, since the compiler would drop a variable
 * that nothing reads. */
static struct fan_out *volatile left_behind;

static void exit_first(void *argument, unsigned index)
{
    task(argument, index);
    if (index == 0)
        pthread_exit(NULL);
}

/* A thread that ends within its task leaves no thread and no entry in the list. It does leave a
 * WaitGroup that never falls to 0, and state that is never freed. */
static void test_a_thread_that_ends_in_its_task_is_never_done(void **state)
{
    struct failure failure = {0};
    struct shared *shared = make_shared(false);
    struct cached_threads_config roomy = limits(1000);
    struct thread_view *views;
    (void)state;
    struct fan_out *fan_out = start_tasks(&roomy, shared, exit_first, TASKS, in_time(), &failure);
    left_behind = fan_out;
    wait_until(at_work() == 0);
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
        cmocka_unit_test(test_threads_work_for_the_request),
        cmocka_unit_test(test_late_threads_outlive_the_caller),
        cmocka_unit_test(test_without_threads_there_is_nothing_to_wait_for),
        cmocka_unit_test(test_limit_of_threads),
        cmocka_unit_test(test_nth_pthread_create_fails),
        cmocka_unit_test(test_no_thread_is_started_after_the_deadline),
        cmocka_unit_test(test_a_thread_that_ends_in_its_task_is_never_done),
    };
    return cmocka_run_group_tests_name("fan_out", tests, NULL, NULL);
}
