/*
 * What a policy decides, for the pool's own files. All functions are called with the lock held, and
 * only read.
 */
#ifndef FLASHOVER_SERVICE_POOL_POLICY_PRIVATE_H
#define FLASHOVER_SERVICE_POOL_POLICY_PRIVATE_H

#include "service/pool/pool_private.h"

struct db_pool_policy {
    /* For so many waiters, from the first in the queue, config.wait_queue_timeout_ns ends. CMAP: it
     * limits the wait for a connection or for leave to make one, not the making; so it ends for
     * those that a connect under way is for. Autonomous: for nobody, since a waiter takes whichever
     * connection comes first. */
    unsigned (*spared_waiters)(const struct db_pool *pool);
    /* When a ready pool with more waiters than connects under way begins the next connect. CMAP: at
     * once. Autonomous: when it pays. */
    int64_t (*next_connect_at)(const struct db_pool *pool);
    /* Whether a paused pool tries to connect, and is ready when it succeeds. CMAP: never, the
     * monitor calls db_pool_ready(). Autonomous: once it was cleared, one try at a time. */
    bool (*probes)(const struct db_pool *pool);
    /* Whether a failed connect clears the pool. CMAP: always. Autonomous: when no connection is
     * left. */
    bool (*clears_after_failure)(const struct db_pool *pool);
};

#endif
