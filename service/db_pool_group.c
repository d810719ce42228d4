/* Calling off a group of checkouts. */
#include "service/db_pool_group.h"

#include "service/db_pool_queue.h"

#include "common/check.h"

void db_pool_call_off(struct db_pool *pool, struct db_checkout_group *group)
{
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    /* Under the lock, so that whoever comes to the queue after the walk sees it. */
    if (!atomic_exchange(&group->called_off, true))
        pool_evict_group(pool, group);
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
}
