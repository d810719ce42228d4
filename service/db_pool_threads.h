/*
 * The pool's background threads, for its own files.
 */
#ifndef FLASHOVER_DB_POOL_THREADS_H
#define FLASHOVER_DB_POOL_THREADS_H

#include "service/db_pool_internal.h"

/* Each starts and ends its part; start returns false when a thread cannot be started, and then has
 * none. Lock not held. stop is called once the pool is closed. */
bool pool_connectors_start(struct db_pool *pool);
void pool_connectors_stop(struct db_pool *pool);
bool pool_tender_start(struct db_pool *pool);
void pool_tender_stop(struct db_pool *pool);
bool pool_canceller_start(struct db_pool *pool);
/* False: it waits for a server that does not answer, and nothing can be done about that. */
bool pool_canceller_stop(struct db_pool *pool);
bool pool_background_start(struct db_pool *pool);
void pool_background_stop(struct db_pool *pool);

/* The tender looks again. With or without the lock. */
void pool_wake_tender(const struct db_pool *pool);

/* Has the slot's query cancelled, and then the slot is tended for a while longer. False: it cannot
 * be. Lock held; the slot is DRAINING and the tender's. */
bool pool_begin_cancel(struct db_pool *pool, struct db_lease *slot);

/* The thread that makes a connection gives it up. Lock held. */
void pool_interrupt_connect(const struct db_lease *slot);

#endif
