/* A collection of stacks: each thread writes its own, a thread that ends meanwhile is marked as
 * gone, threads without a slot are counted, and the next collection starts afresh. */
#include "service/dump/stack_slots.h"

#include "tests/support/support.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

enum { THREADS = 5 };

/* Threads that wait until a pipe is closed. After a signal they wait again. */
struct sleepers {
    int pipe[2];
    pthread_t threads[THREADS];
    _Atomic long tids[THREADS];
    bool block_signals; /* set before they start */
};

struct sleeper {
    struct sleepers *all;
    unsigned index;
};

static void *sleep_until_told(void *argument)
{
    const struct sleeper *sleeper = argument;
    struct pollfd told = {.fd = sleeper->all->pipe[0], .events = POLLIN};
    sigset_t all;
    sigfillset(&all);
    if (sleeper->all->block_signals)
        CHECK_PTHREAD(pthread_sigmask(SIG_BLOCK, &all, NULL));
    thread_state_enter("sleeper", "r-1");
    thread_state_set(THREAD_QUERY);
    atomic_store(&sleeper->all->tids[sleeper->index], thread_state_tid());
    while (poll(&told, 1, -1) <= 0)
        continue;
    thread_state_leave();
    return NULL;
}

static void put_to_sleep(struct sleepers *sleepers, bool block_signals)
{
    static struct sleeper arguments[THREADS];
    *sleepers = (struct sleepers){.block_signals = block_signals};
    assert_int_equal(pipe(sleepers->pipe), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        arguments[i] = (struct sleeper){sleepers, i};
        CHECK_PTHREAD(pthread_create(&sleepers->threads[i], NULL, sleep_until_told, &arguments[i]));
    }
    for (unsigned i = 0; i < THREADS; i++)
        wait_until(atomic_load(&sleepers->tids[i]) != 0);
}

static void wake(struct sleepers *sleepers)
{
    close(sleepers->pipe[1]);
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_PTHREAD(pthread_join(sleepers->threads[i], NULL));
    close(sleepers->pipe[0]);
}

static struct stack_slots *open_slots(unsigned capacity)
{
    struct stack_slots *slots = stack_slots_open(capacity, false);
    assert_non_null(slots);
    return slots;
}

static void collect(struct stack_slots *slots, long other_tid)
{
    stack_slots_begin(slots, NULL, other_tid);
    stack_slots_collect(slots, clock_now_ns() + TEST_PATIENCE_NS);
}

/* The slot of this thread, or NULL. */
static const struct stack_slot *slot_of(const struct stack_slots *slots, long tid)
{
    for (unsigned i = 0; i < atomic_load(&slots->count); i++)
        if (slots->tids[i] == tid)
            return &slots->slots[i];
    return NULL;
}

static unsigned count_with(const struct stack_slots *slots, enum stack_status status)
{
    unsigned count = 0;
    for (unsigned i = 0; i < atomic_load(&slots->count); i++)
        count += atomic_load(&slots->slots[i].status) == status;
    return count;
}

static void test_every_thread_writes_its_own(void **state)
{
    struct stack_slots *slots = open_slots(64);
    struct sleepers sleepers;
    (void)state;
    put_to_sleep(&sleepers, false);
    collect(slots, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        const struct stack_slot *slot = slot_of(slots, atomic_load(&sleepers.tids[i]));
        assert_non_null(slot);
        assert_int_equal(atomic_load(&slot->status), STACK_ANSWERED);
        assert_int_equal(slot->thread.tid, atomic_load(&sleepers.tids[i]));
        assert_string_equal(slot->thread.role, "sleeper");
        assert_string_equal(slot->thread.request, "r-1");
        assert_int_equal(slot->thread.state, THREAD_QUERY);
        assert_true(slot->depth >= 2);
        assert_true(slot->addresses[0] != 0);
    }
    assert_int_equal(slots->missed, 0);
    assert_false(atomic_load(&slots->is_collecting));
    assert_true(slots->took_ns > 0 && slots->took_ns < TEST_PATIENCE_NS);
    wake(&sleepers);
}

static void test_who_collects_is_the_first_and_the_other_the_second(void **state)
{
    struct stack_slots *slots = open_slots(64);
    struct sleepers sleepers;
    (void)state;
    put_to_sleep(&sleepers, false);
    long other = atomic_load(&sleepers.tids[THREADS - 1]);
    collect(slots, other);
    assert_int_equal(slots->tids[0], thread_state_tid());
    assert_null(slots->slots[0].thread.role); /* not registered, but listed */
    assert_int_equal(atomic_load(&slots->slots[0].status), STACK_ANSWERED);
    assert_int_equal(slots->tids[1], other);
    for (unsigned i = 2; i < atomic_load(&slots->count); i++)
        assert_true(slots->tids[i] != other && slots->tids[i] != slots->tids[0]);
    wake(&sleepers);
}

static void test_whom_there_is_no_slot_for_is_counted(void **state)
{
    struct stack_slots *slots = open_slots(3);
    struct sleepers sleepers;
    (void)state;
    put_to_sleep(&sleepers, false);
    collect(slots, 0);
    assert_int_equal(atomic_load(&slots->count), 3);
    /* a sanitizer may have a thread of its own, which does not answer */
    assert_true(count_with(slots, STACK_ANSWERED) >= 2);
    assert_true(slots->missed >= THREADS - 2);
    wake(&sleepers);
    collect(slots, 0); /* now there is room */
    assert_int_equal(slots->missed, 0);
}

/* The collection waits for all the silent threads no longer than for one. */
static void test_who_does_not_answer_is_told(void **state)
{
    struct stack_slots *slots = open_slots(64);
    struct sleepers sleepers;
    (void)state;
    put_to_sleep(&sleepers, true);
    collect(slots, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        const struct stack_slot *slot = slot_of(slots, atomic_load(&sleepers.tids[i]));
        assert_non_null(slot);
        assert_int_equal(atomic_load(&slot->status), STACK_ASKED);
    }
    assert_true(slots->took_ns < TEST_PATIENCE_NS / 2);
    wake(&sleepers);
}

static void *collect_in_a_thread(void *slots)
{
    collect(slots, 0);
    return NULL;
}

/* Asks threads that end before they can answer, and returns how many were marked as gone. That is
 * all of them, unless this thread was so late that the collection had given up on them. */
static unsigned collect_from_the_ending(struct stack_slots *slots)
{
    struct sleepers sleepers;
    pthread_t collector;
    unsigned gone = 0;
    put_to_sleep(&sleepers, true);
    atomic_store(&slots->count, 0);
    CHECK_PTHREAD(pthread_create(&collector, NULL, collect_in_a_thread, slots));
    wait_until(atomic_load(&slots->count) >= THREADS + 2); /* the collector and this one too */
    wake(&sleepers);
    CHECK_PTHREAD(pthread_join(collector, NULL));
    for (unsigned i = 0; i < THREADS; i++) {
        const struct stack_slot *slot = slot_of(slots, atomic_load(&sleepers.tids[i]));
        assert_non_null(slot);
        assert_int_not_equal(atomic_load(&slot->status), STACK_ANSWERED);
        gone += atomic_load(&slot->status) == STACK_GONE;
    }
    return gone;
}

static void test_who_ends_meanwhile_is_gone(void **state)
{
    struct stack_slots *slots = open_slots(64);
    (void)state;
    wait_until(collect_from_the_ending(slots) == THREADS);
}

static void test_a_second_collection_begins_anew(void **state)
{
    struct stack_slots *slots = open_slots(64);
    struct sleepers sleepers;
    (void)state;
    put_to_sleep(&sleepers, false);
    collect(slots, 0);
    unsigned with_sleepers = atomic_load(&slots->count);
    wake(&sleepers);
    collect(slots, 0);
    assert_int_equal(atomic_load(&slots->count), with_sleepers - THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        assert_null(slot_of(slots, atomic_load(&sleepers.tids[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_thread_writes_its_own),
        cmocka_unit_test(test_who_collects_is_the_first_and_the_other_the_second),
        cmocka_unit_test(test_whom_there_is_no_slot_for_is_counted),
        cmocka_unit_test(test_who_does_not_answer_is_told),
        cmocka_unit_test(test_who_ends_meanwhile_is_gone),
        cmocka_unit_test(test_a_second_collection_begins_anew),
    };
    stack_slots_install();
    return cmocka_run_group_tests_name("stack_slots", tests, NULL, NULL);
}
