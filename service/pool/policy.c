/* The two policies, side by side. The functions read the pool's fields and change nothing. */
#include "service/pool/lock.h"
#include "service/pool/policy_private.h"
#include "service/pool/pool.h"
#include "service/pool/slots.h"

#include "common/check.h"

static unsigned spare_awaited(const struct db_pool *pool)
{
    pool_assert_held(pool);
    return pool->awaited;
}

static unsigned spare_nobody(const struct db_pool *pool)
{
    (void)pool;
    return 0;
}

static int64_t grow_at_once(const struct db_pool *pool)
{
    (void)pool;
    return 0;
}

/* A second connect beside one under way pays only if it ends before the queue gets to that waiter
 * anyway. So it begins when the first waiter has waited for as long as connects take: a burst that
 * the pool can serve faster does not leave it swollen. */
static int64_t grow_when_it_pays(const struct db_pool *pool)
{
    pool_assert_held(pool);
    assert(pool->waiting > 0);
    if (pool->connecting == 0 || pool_working(pool) == 0)
        return 0;
    return TAILQ_FIRST(&pool->queue)->from_ns + pool->mean_connect_ns;
}

static bool never_probe(const struct db_pool *pool)
{
    (void)pool;
    return false;
}

static bool probe_once_cleared(const struct db_pool *pool)
{
    pool_assert_held(pool);
    assert(pool->state == DB_POOL_PAUSED);
    return pool->generation > 0 && pool->counts[SLOT_CONNECTING] == 0;
}

static bool clear_always(const struct db_pool *pool)
{
    (void)pool;
    return true;
}

/* With connections left, the waiters go on hoping for a check-in. With none, a clear tells them at
 * once why. */
static bool clear_without_connections(const struct db_pool *pool)
{
    pool_assert_held(pool);
    return pool_working(pool) == 0;
}

const struct db_pool_policy db_pool_policy_cmap = {
    .spared_waiters = spare_awaited,
    .next_connect_at = grow_at_once,
    .probes = never_probe,
    .clears_after_failure = clear_always,
};

const struct db_pool_policy db_pool_policy_autonomous = {
    .spared_waiters = spare_nobody,
    .next_connect_at = grow_when_it_pays,
    .probes = probe_once_cleared,
    .clears_after_failure = clear_without_connections,
};
