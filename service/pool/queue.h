/*
 * The wait queue and the hand-over, for the pool's own files. All with the pool's lock held,
 * except pool_wake().
 */
#ifndef FLASHOVER_SERVICE_POOL_QUEUE_H
#define FLASHOVER_SERVICE_POOL_QUEUE_H

#include "service/pool/pool_private.h"

/* Whether, once this waiter waits too, waiting threads would hold every connection: none of them
 * would ever end. Sets waiter->held. */
bool pool_is_nested(const struct db_pool *pool, struct waiter *waiter);

/* Waits in the queue for a decision or the deadline. Gives the lock up meanwhile. */
void pool_wait_turn(struct db_pool *pool, struct waiter *waiter);

/* Ends config.wait_queue_timeout_ns for the waiters that the policy spares: they wait until their
 * own deadlines. */
void pool_spare_waiters(struct db_pool *pool);

/* Gives the waiter a slot that has no owner. */
void pool_grant(struct db_pool *pool, struct db_slot *slot, enum slot_state from,
                struct waiter *waiter, int64_t now_ns);

/* Gives a slot that has no owner to the first waiter that may have it, and returns that waiter, for
 * pool_wake(). Without such a waiter, makes the slot idle and returns NULL. */
struct waiter *pool_hand_over(struct db_pool *pool, struct db_slot *slot, enum slot_state from,
                              int64_t now_ns) __attribute__((warn_unused_result));

/* Wakes a waiter that has its decision; NULL is allowed. With or without the lock; without it, the
 * woken thread need not wait for the lock. The waiter's memory is valid until the post, and may be
 * gone right after it. POSIX allows that for a semaphore (it may be destroyed once its waiter has
 * returned), and not for a condition variable. */
void pool_wake(struct waiter *waiter);

/* Refuses all waiters. `refused` must live as long as the pool. */
void pool_evict_waiters(struct db_pool *pool, const struct failure *refused,
                        enum db_pool_reason reason);

/* Refuses the waiters of one group with pool->called_off. */
void pool_evict_group(struct db_pool *pool, const struct db_checkout_group *group);

#endif
