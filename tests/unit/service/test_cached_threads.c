/* Threads that are used again: who gets which, how many there are, and when they end. */
#include "tests/support/support.h"

#include "service/base/thread_state.h"
#include "service/variants/fan_out/cached_threads.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

enum { MANY = 50 };

static _Atomic unsigned created;
static _Atomic int creates_left; /* then they fail */

static int create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                  void *argument)
{
    if (atomic_fetch_sub(&creates_left, 1) <= 0)
        return EAGAIN;
    atomic_fetch_add(&created, 1);
    return pthread_create(thread, attributes, start, argument);
}

/* Threads that stay idle for longer than a test takes. */
static struct cached_threads_config config;

static int begin(void **state)
{
    (void)state;
    config = (struct cached_threads_config){.max_threads = 1000,
                                            .stack_bytes = (size_t)128 << 10,
                                            .idle_ns = 60 * CLOCK_NS_PER_S,
                                            .create = create};
    atomic_store(&created, 0);
    atomic_store(&creates_left, 1000000);
    return 0;
}

static int64_t in_time(void)
{
    return clock_now_ns() + TEST_PATIENCE_NS;
}

/* What a task leaves behind. */
struct task {
    pthread_barrier_t *barrier; /* or NULL */
    _Atomic bool *gate;         /* closed while true; or NULL */
    _Atomic long tid;           /* of the thread that ran it */
};

static void run(void *argument)
{
    struct task *task = argument;
    if (task->barrier)
        pthread_barrier_wait(task->barrier);
    while (task->gate && atomic_load(task->gate))
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
    atomic_store(&task->tid, thread_state_tid());
}

static void run_and_exit(void *argument)
{
    run(argument);
    pthread_exit(NULL);
}

static void start(void (*body)(void *), struct task *tasks, unsigned count)
{
    struct cached_thread_list taken;
    struct failure failure = {0};
    assert_true(cached_threads_take(&config, count, in_time(), &taken, &failure));
    for (unsigned i = 0; i < count; i++)
        cached_threads_run_one(&taken, body, &tasks[i]);
    assert_true(TAILQ_EMPTY(&taken));
}

static void wait_for_counts(unsigned at_work, unsigned idle)
{
    wait_until(cached_threads_count().at_work == at_work && cached_threads_count().idle == idle);
}

/* The idle ones are taken, told nothing, and end: so each test begins without any. */
static int end(void **state)
{
    struct cached_thread_list taken;
    struct failure failure = {0};
    (void)state;
    unsigned idle = cached_threads_count().idle;
    config.max_threads = idle + 1;
    atomic_store(&creates_left, 0);
    assert_false(cached_threads_take(&config, idle + 1, in_time(), &taken, &failure));
    wait_for_counts(0, 0);
    return 0;
}

static void test_they_are_used_again(void **state)
{
    struct task tasks[MANY] = {0};
    (void)state;
    for (int round = 0; round < 5; round++) {
        start(run, tasks, MANY);
        wait_for_counts(0, MANY);
    }
    assert_int_equal(created, MANY);
    start(run, tasks, 3);
    wait_for_counts(0, MANY);
    assert_int_equal(created, MANY);
}

/* However short the tasks are: none can pass the barrier before all are there. */
static void test_each_task_has_a_thread_of_its_own(void **state)
{
    struct task tasks[MANY] = {0};
    pthread_barrier_t barrier;
    (void)state;
    CHECK_PTHREAD(pthread_barrier_init(&barrier, NULL, MANY));
    for (int i = 0; i < MANY; i++)
        tasks[i].barrier = &barrier;
    for (int round = 0; round < 3; round++) {
        start(run, tasks, MANY);
        wait_for_counts(0, MANY);
        for (int i = 0; i < MANY; i++)
            for (int j = 0; j < i; j++)
                assert_true(tasks[i].tid != tasks[j].tid);
    }
    CHECK_PTHREAD(pthread_barrier_destroy(&barrier));
}

static void test_the_latest_is_the_next(void **state)
{
    _Atomic bool gates[2] = {true, true};
    struct task tasks[2] = {{.gate = &gates[0]}, {.gate = &gates[1]}};
    struct task next = {0};
    (void)state;
    start(run, tasks, 2);
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&gates[1 - i], false);
        wait_for_counts(1 - i, 1 + i);
    }
    start(run, &next, 1);
    wait_for_counts(0, 2);
    assert_int_equal(next.tid, tasks[0].tid);
}

static void test_they_end_when_nobody_wants_them(void **state)
{
    struct task tasks[MANY] = {0};
    struct thread_view *views;
    (void)state;
    config.idle_ns = 20 * CLOCK_NS_PER_MS;
    start(run, tasks, MANY);
    wait_for_counts(0, 0);
    assert_int_equal(thread_state_list(&views), 0);
    free(views);
    config.idle_ns = 0; /* at once */
    start(run, tasks, MANY);
    wait_for_counts(0, 0);
    assert_int_equal(created, 2 * MANY);
}

/* Threads are taken at the very moment at which they stop waiting: each task runs all the same. */
static void test_the_end_of_the_wait_loses_no_task(void **state)
{
    struct task tasks[4];
    (void)state;
    config.idle_ns = CLOCK_NS_PER_MS / 5;
    for (int round = 0; round < 300; round++) {
        memset(tasks, 0, sizeof tasks);
        start(run, tasks, 4);
        for (int i = 0; i < 4; i++)
            wait_until(atomic_load(&tasks[i].tid) != 0);
        int64_t next_ns = clock_now_ns() + config.idle_ns * (round % 5) / 3;
        while (clock_now_ns() < next_ns) /* the next take comes before, at or after their end */
            sched_yield();
    }
    assert_true(created > 4 || cached_threads_count().idle > 0);
    wait_for_counts(0, 0);
}

static void test_idle_ones_count_and_are_taken_before_others(void **state)
{
    struct task tasks[5] = {0};
    struct cached_thread_list taken;
    struct failure failure = {0};
    (void)state;
    config.max_threads = 5;
    start(run, tasks, 5);
    wait_for_counts(0, 5);
    assert_false(cached_threads_take(&config, 6, in_time(), &taken, &failure));
    assert_int_equal(failure.kind, FAILURE_LIMIT);
    assert_string_equal(failure.message, "too many threads: the limit is 5");
    wait_for_counts(0, 5);
    start(run, tasks, 5);
    wait_for_counts(0, 5);
    assert_int_equal(created, 5);
}

/* What the idle ones hold may be what a new one lacks. */
static void test_where_none_can_be_created_idle_ones_end(void **state)
{
    struct task tasks[MANY] = {0};
    struct cached_thread_list taken;
    struct failure failure = {0};
    (void)state;
    start(run, tasks, MANY);
    wait_for_counts(0, MANY);
    atomic_store(&creates_left, 3);
    assert_false(cached_threads_take(&config, MANY + 10, in_time(), &taken, &failure));
    assert_int_equal(failure.kind, FAILURE_LIMIT);
    assert_non_null(strstr(failure.message, "cannot start a thread"));
    wait_for_counts(0, 0);
}

static void test_after_the_deadline_none_is_taken(void **state)
{
    struct task tasks[5] = {0};
    struct cached_thread_list taken;
    struct failure failure = {0};
    (void)state;
    start(run, tasks, 5);
    wait_for_counts(0, 5);
    assert_false(cached_threads_take(&config, 6, clock_now_ns(), &taken, &failure));
    assert_int_equal(failure.kind, FAILURE_NONE);
    assert_true(TAILQ_EMPTY(&taken));
    wait_for_counts(0, 5);
    assert_true(cached_threads_take(&config, 5, in_time(), &taken, &failure));
    assert_int_equal(cached_threads_count().at_work, 5);
    cached_threads_give_back(&taken);
    wait_for_counts(0, 5);
}

static void test_a_task_may_end_its_thread(void **state)
{
    struct task tasks[5] = {0};
    (void)state;
    start(run_and_exit, tasks, 2);
    wait_for_counts(0, 0);
    start(run, tasks, 5);
    wait_for_counts(0, 5);
    assert_int_equal(created, 7);
}

static void test_idle_ones_are_shown_as_idle(void **state)
{
    struct task tasks[5] = {0};
    struct thread_view *views;
    unsigned states[THREAD_STATES];
    (void)state;
    start(run, tasks, 5);
    wait_for_counts(0, 5);
    thread_state_count(states);
    assert_int_equal(states[THREAD_IDLE], 5);
    assert_int_equal(thread_state_list(&views), 5);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(views[i].role, "item");
        assert_string_equal(views[i].request, "");
    }
    free(views);
}

#define CACHED(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHED(test_they_are_used_again),
        CACHED(test_each_task_has_a_thread_of_its_own),
        CACHED(test_the_latest_is_the_next),
        CACHED(test_they_end_when_nobody_wants_them),
        CACHED(test_the_end_of_the_wait_loses_no_task),
        CACHED(test_idle_ones_count_and_are_taken_before_others),
        CACHED(test_where_none_can_be_created_idle_ones_end),
        CACHED(test_after_the_deadline_none_is_taken),
        CACHED(test_a_task_may_end_its_thread),
        CACHED(test_idle_ones_are_shown_as_idle),
    };
    return cmocka_run_group_tests_name("cached_threads", tests, NULL, NULL);
}
