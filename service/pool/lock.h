/*
 * The pool's lock, for the pool's own files. It knows its holder, so "lock held" can be asserted.
 *
 * Only the holder writes its own mark into `owner`, and it clears that before it unlocks. So a
 * thread that reads its own mark there has the lock, and one that reads anything else has not. A
 * condition wait gives the lock up, so it clears the owner too.
 */
#ifndef FLASHOVER_SERVICE_POOL_LOCK_H
#define FLASHOVER_SERVICE_POOL_LOCK_H

#include "service/pool/pool_private.h"

#include "common/check.h"
#include "common/clock.h"

#include <errno.h>

/* A thread's mark is the address of its own instance: one instruction, where a thread id is a call.
 * (A checkout and its check-in ask some twenty times.) */
extern _Thread_local const char pool_thread_mark;

static inline bool pool_is_held(const struct db_pool *pool)
{
    return atomic_load_explicit(&pool->owner, memory_order_relaxed) == &pool_thread_mark;
}

/* A macro, so that the message names the function that was called without the lock. */
#define pool_assert_held(pool) assert(pool_is_held(pool))

/* Not by its holder: it would wait for itself. */
static inline void pool_lock(struct db_pool *pool)
{
    assert(!pool_is_held(pool));
    CHECK_PTHREAD(pthread_mutex_lock(&pool->mutex));
    atomic_store_explicit(&pool->owner, &pool_thread_mark, memory_order_relaxed);
}

static inline void pool_unlock(struct db_pool *pool)
{
    pool_assert_held(pool);
    atomic_store_explicit(&pool->owner, NULL, memory_order_relaxed);
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->mutex));
}

/* Waits for a signal of the condition, at most until `until_ns`; CLOCK_NEVER: without a limit.
 * False when the time passed first. Lock held, and given up meanwhile. */
static inline bool pool_wait(struct db_pool *pool, pthread_cond_t *condition, int64_t until_ns)
{
    struct timespec until = clock_timespec(until_ns);
    pool_assert_held(pool);
    atomic_store_explicit(&pool->owner, NULL, memory_order_relaxed);
    int result = until_ns == CLOCK_NEVER ? pthread_cond_wait(condition, &pool->mutex)
                                         : pthread_cond_timedwait(condition, &pool->mutex, &until);
    assert(result == 0 || (result == ETIMEDOUT && until_ns != CLOCK_NEVER));
    atomic_store_explicit(&pool->owner, &pool_thread_mark, memory_order_relaxed);
    return result == 0;
}

#endif
