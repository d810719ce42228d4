/*
 * The pool's background threads, for its own files.
 */
#ifndef FLASHOVER_SERVICE_POOL_THREADS_H
#define FLASHOVER_SERVICE_POOL_THREADS_H

#include "service/pool/pool_private.h"

/* Start and stop the threads. A start returns false when it has no threads. The pool is closed
 * before a stop. Lock not held. */
bool pool_connectors_start(struct db_pool *pool);
void pool_connectors_stop(struct db_pool *pool);
bool pool_tender_start(struct db_pool *pool);
void pool_tender_stop(struct db_pool *pool);
bool pool_canceller_start(struct db_pool *pool);
/* False: the canceller still waits for a server that does not answer. libpq cannot interrupt that.
 */
bool pool_canceller_stop(struct db_pool *pool);
bool pool_background_start(struct db_pool *pool);
void pool_background_stop(struct db_pool *pool);

/* Queues a cancel of the slot's query and makes the slot CANCELLING. False: no cancel is possible.
 * Lock held; the slot is DRAINING. */
bool pool_begin_cancel(struct db_pool *pool, struct db_slot *slot);

#endif
