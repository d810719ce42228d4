/*
 * The C library's allocator, which fails once, at the Nth call of the threads that count: for a
 * test that tries every N, as jansson's and SQLite's do. Defines malloc() and its siblings for the
 * whole program, the libraries included, so one file of a program may include it, and none of a
 * sanitizer's, which has an allocator of its own. failing_calls.h does the same for system calls.
 */
#ifndef FLASHOVER_TESTS_SUPPORT_FAILING_MALLOC_H
#define FLASHOVER_TESTS_SUPPORT_FAILING_MALLOC_H

#include "tests/support/support.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAILING_MALLOC 0
#else
#define FAILING_MALLOC 1

/* The GNU C library's own. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *old);

enum failing { FAILING_ALLOCATION, FAILING_CALL };

static _Atomic enum failing failing; /* what is counted, and fails */
static _Atomic long calls_left = -1; /* below 0: none fails */
static _Atomic long blocks;          /* allocated and not freed, by threads that count */
/* Of a thread: its calls never fail, and its blocks do not count. Threads that it starts inherit
 * nothing. */
static _Thread_local bool never_fails;

/* Whether this call is the one that fails, with this error. */
static bool fails_now(enum failing kind, int error)
{
    if (never_fails || kind != atomic_load(&failing) || atomic_load(&calls_left) < 0)
        return false;
    if (atomic_fetch_sub(&calls_left, 1) != 0)
        return false;
    errno = error;
    return true;
}

static void *counted(void *block)
{
    if (block && !never_fails)
        atomic_fetch_add(&blocks, 1);
    return block;
}

void *malloc(size_t size)
{
    return fails_now(FAILING_ALLOCATION, ENOMEM) ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    return fails_now(FAILING_ALLOCATION, ENOMEM) ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *old, size_t size)
{
    if (fails_now(FAILING_ALLOCATION, ENOMEM))
        return NULL;
    void *block = __libc_realloc(old, size);
    if (block && !old && !never_fails)
        atomic_fetch_add(&blocks, 1);
    return block;
}

void free(void *old)
{
    if (old && !never_fails)
        atomic_fetch_sub(&blocks, 1);
    __libc_free(old);
}

/* Runs `scenario` with its nth call failing. *was_reached: there is such a one. Returns whether
 * anything is left behind. */
static bool fail_once(bool (*scenario)(void), long nth, bool *was_reached)
{
    wait_until(scenario()); /* the failure before may have ended a connection */
    long before = atomic_load(&blocks);
    atomic_store(&calls_left, nth);
    bool ok = scenario();
    *was_reached = atomic_exchange(&calls_left, -1) < 0;
    if (!*was_reached && !ok)
        fail_msg("it fails without a failed call, at %ld", nth);
    wait_until(scenario());
    int64_t until_ns = clock_now_ns() + 100 * CLOCK_NS_PER_MS; /* other threads may free some */
    while (atomic_load(&blocks) > before && clock_now_ns() < until_ns)
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS);
    return atomic_load(&blocks) > before;
}

/* Runs `scenario` with the first, second, third … call of a kind failing, until none of a whole run
 * fails. It returns whether all went well, and must have checked the rest. It may leave behind what
 * is made once and kept, but not with each run. */
static void fail_each(enum failing kind, bool (*scenario)(void))
{
    enum { MANY = 20000, REPEATS = 5 };
    long nth = 0;
    atomic_store(&failing, kind);
    wait_until(scenario());
    bool was_reached = true;
    for (; was_reached && nth < MANY; nth++) {
        unsigned grown = 0;
        while (fail_once(scenario, nth, &was_reached))
            if (++grown == REPEATS)
                fail_msg("blocks are lost when call %ld fails", nth);
    }
    if (was_reached)
        fail_msg("more than %d calls", MANY);
    assert_true(nth > 1);
    print_message("[  note    ] %ld %s failed in turn\n", nth - 1,
                  kind == FAILING_CALL ? "system calls" : "allocations");
}

#endif
#endif
