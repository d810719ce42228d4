/* The pool's lock records its holder. Functions that need the lock abort the process without it. */
#include "tests/support/support.h"

#include "service/pool/lock.h"
#include "service/pool/policy_private.h"
#include "service/pool/pool_private.h"
#include "service/pool/queue.h"
#include "service/pool/slots.h"
#include "service/pool/threads.h"
#include "tests/support/pool_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct failure cause = {.kind = FAILURE_UNAVAILABLE, .message = "told to"};

/* A thread that has the lock until `may_go`. */
struct keeper {
    struct db_pool *pool;
    pthread_t thread;
    _Atomic bool has_lock, may_go;
    bool was_held;
};

static void *keeper_main(void *argument)
{
    struct keeper *keeper = argument;
    pool_lock(keeper->pool);
    keeper->was_held = pool_is_held(keeper->pool);
    atomic_store(&keeper->has_lock, true);
    while (!atomic_load(&keeper->may_go))
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS / 5);
    pool_unlock(keeper->pool);
    return NULL;
}

static void test_only_its_holder_holds_it(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct keeper keeper = {.pool = fixture.pool};
    assert_false(pool_is_held(fixture.pool));
    CHECK_PTHREAD(pthread_create(&keeper.thread, NULL, keeper_main, &keeper));
    wait_until(atomic_load(&keeper.has_lock));
    assert_false(pool_is_held(fixture.pool));
    atomic_store(&keeper.may_go, true);
    CHECK_PTHREAD(pthread_join(keeper.thread, NULL));
    assert_true(keeper.was_held);
    pool_lock(fixture.pool);
    assert_true(pool_is_held(fixture.pool));
    pool_unlock(fixture.pool);
    assert_false(pool_is_held(fixture.pool));
    close_pool(&fixture);
}

/* A thread that waits for a condition, and what it found after the wait. */
struct sleeper {
    struct db_pool *pool;
    pthread_cond_t condition;
    pthread_t thread;
    bool is_waiting, is_due; /* under the lock */
    bool woken, held_after;
};

static void *sleeper_main(void *argument)
{
    struct sleeper *sleeper = argument;
    pool_lock(sleeper->pool);
    sleeper->is_waiting = true;
    sleeper->woken = true;
    while (!sleeper->is_due && sleeper->woken)
        sleeper->woken =
            pool_wait(sleeper->pool, &sleeper->condition, clock_now_ns() + TEST_PATIENCE_NS);
    sleeper->held_after = pool_is_held(sleeper->pool);
    pool_unlock(sleeper->pool);
    return NULL;
}

static bool is_waiting(struct sleeper *sleeper)
{
    pool_lock(sleeper->pool);
    bool waiting = sleeper->is_waiting;
    pool_unlock(sleeper->pool);
    return waiting;
}

static void test_a_wait_gives_it_up_and_has_it_again(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct sleeper sleeper = {.pool = fixture.pool};
    clock_cond_init(&sleeper.condition);
    CHECK_PTHREAD(pthread_create(&sleeper.thread, NULL, sleeper_main, &sleeper));
    wait_until(is_waiting(&sleeper));
    pool_lock(fixture.pool);
    assert_true(pool_is_held(fixture.pool)); /* the sleeper is not the holder any more */
    sleeper.is_due = true;
    CHECK_PTHREAD(pthread_cond_signal(&sleeper.condition));
    pool_unlock(fixture.pool);
    CHECK_PTHREAD(pthread_join(sleeper.thread, NULL));
    assert_true(sleeper.woken);
    assert_true(sleeper.held_after);

    pool_lock(fixture.pool);
    assert_false(pool_wait(fixture.pool, &sleeper.condition, clock_now_ns() + CLOCK_NS_PER_MS));
    assert_true(pool_is_held(fixture.pool)); /* after a timeout too */
    pool_unlock(fixture.pool);
    CHECK_PTHREAD(pthread_cond_destroy(&sleeper.condition));
    close_pool(&fixture);
}

typedef void misuse(struct db_pool *pool);

static void assert_held(struct db_pool *pool)
{
    pool_assert_held(pool);
}

static void unlock(struct db_pool *pool)
{
    pool_unlock(pool);
}

static void lock_twice(struct db_pool *pool)
{
    pool_lock(pool);
    pool_lock(pool);
}

static void emit(struct db_pool *pool)
{
    pool_emit(pool, (struct db_pool_event){.type = POOL_READY});
}

static void clear(struct db_pool *pool)
{
    pool_clear(pool, &cause, false);
}

static void make_ready(struct db_pool *pool)
{
    pool_make_ready(pool);
}

static void take_idle(struct db_pool *pool)
{
    (void)pool_take_idle(pool, clock_now_ns());
}

static void set_state(struct db_pool *pool)
{
    pool_slot_set_state(pool, &pool->slots[0], SLOT_IDLE, SLOT_IN_USE);
}

static void hand_over(struct db_pool *pool)
{
    pool_wake(pool_hand_over(pool, &pool->slots[0], SLOT_IDLE, clock_now_ns()));
}

static void begin_cancel(struct db_pool *pool)
{
    (void)pool_begin_cancel(pool, &pool->slots[0]);
}

static void probe(struct db_pool *pool)
{
    (void)pool->config.policy->probes(pool);
}

/* The signal that ended a child which ran `act`, or 0. */
static int signal_of(misuse *act, struct db_pool *pool)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        act(pool);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_without_it_the_process_ends(void **state)
{
    misuse *const kinds[] = {assert_held, unlock,    lock_twice, emit,         clear, make_ready,
                             take_idle,   set_state, hand_over,  begin_cancel, probe};
    struct fixture fixture;
    (void)state;
    open_pool(&fixture, 1, 1, 100);
    struct db_slot *slot = checkout(&fixture);
    db_pool_checkin(fixture.pool, &slot);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        assert_int_equal(signal_of(kinds[i], fixture.pool), SIGABRT);
    pool_lock(fixture.pool); /* under the lock these calls are no misuse */
    assert_int_equal(signal_of(assert_held, fixture.pool), 0);
    assert_int_equal(signal_of(emit, fixture.pool), 0);
    assert_int_equal(signal_of(take_idle, fixture.pool), 0);
    pool_unlock(fixture.pool);
    close_pool(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_its_holder_holds_it),
        cmocka_unit_test(test_a_wait_gives_it_up_and_has_it_again),
        cmocka_unit_test(test_without_it_the_process_ends),
    };
    return cmocka_run_group_tests_name("db_pool_lock", tests, NULL, NULL);
}
