/*
 * The wait queue and the hand-over, for the pool's own files. All with the pool's lock held.
 */
#ifndef FLASHOVER_DB_POOL_QUEUE_H
#define FLASHOVER_DB_POOL_QUEUE_H

#include "service/db_pool_internal.h"

/* Whether every connection would be held by threads that wait for another, once this one waits too:
 * it would never end. Notes how many its thread holds. */
bool pool_is_nested(const struct db_pool *pool, struct waiter *waiter);

/* Stands in the queue until it is decided on or its deadline passes; gives the lock up meanwhile.
 */
void pool_wait_turn(struct db_pool *pool, struct waiter *waiter);

/* CMAP: the wait queue's timeout is for the wait for a connection, or for leave to make one; not
 * for the making. So it ends for the first `awaited` in the queue. Not in an autonomous pool, where
 * a waiter waits for whichever connection comes first. */
void pool_spare_waiters(struct db_pool *pool);

/* The slot, which nobody owns, is the waiter's. */
void pool_grant(struct db_pool *pool, struct db_lease *slot, enum slot_state from,
                struct waiter *waiter, int64_t now_ns);

/* Gives a slot that nobody owns to the longest waiter that may have it, who is to be woken, or
 * makes it idle: NULL. */
struct waiter *pool_hand_over(struct db_pool *pool, struct db_lease *slot, enum slot_state from,
                              int64_t now_ns) __attribute__((warn_unused_result));

/* Wakes a waiter that has been decided on, or nobody: NULL. With or without the lock: without it,
 * the woken thread does not run into it. A waiter stays until it is woken, and may be gone the
 * moment after: a semaphore may be destroyed as soon as a post has let its waiter go (POSIX), a
 * condition variable may not. */
void pool_wake(struct waiter *waiter);

/* Turns all waiters away with `refused`, which must live as long as the pool. */
void pool_evict_waiters(struct db_pool *pool, const struct failure *refused,
                        enum db_pool_reason reason);

/* The same for those of one group, with the pool's own words for it. */
void pool_evict_group(struct db_pool *pool, const struct db_checkout_group *group);

#endif
