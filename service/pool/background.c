/* CMAP's background thread: at intervals it retires what is too old and wakes the connectors for
 * min_size. */
#include "service/pool/lock.h"
#include "service/pool/slots.h"
#include "service/pool/threads.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/base/thread_state.h"

/* Calls on_episode where that is due. Lock held, and given up for the call. */
static void report_episode(struct db_pool *pool)
{
    pool_assert_held(pool);
    if (!pool->episode_began)
        return;
    pool->episode_began = false;
    pool_unlock(pool);
    thread_state_set(THREAD_RUNNING);
    if (pool->config.on_episode)
        pool->config.on_episode(pool->config.episode_context);
    thread_state_set(THREAD_IDLE);
    pool_lock(pool);
}

static void *background_main(void *argument)
{
    struct db_pool *pool = argument;
    thread_state_enter("pool background", "");
    thread_state_set(THREAD_IDLE);
    pool_lock(pool);
    while (pool->state != DB_POOL_CLOSED) {
        int64_t now_ns = clock_now_ns();
        int64_t until_ns = now_ns + pool->config.background_interval_ns;
        bool in_time = true;
        pool->background_due = false;
        pool_retire_idle(pool, REASON_NONE, now_ns);
        CHECK_PTHREAD(pthread_cond_broadcast(&pool->connector_work));
        report_episode(pool);
        while (!pool->background_due && pool->state != DB_POOL_CLOSED && in_time)
            in_time = pool_wait(pool, &pool->background_work, until_ns);
    }
    pool_unlock(pool);
    thread_state_leave();
    return NULL;
}

bool pool_background_start(struct db_pool *pool)
{
    pool->has_background = pool->config.background_interval_ns >= 0 &&
                           pthread_create(&pool->background, NULL, background_main, pool) == 0;
    return pool->has_background || pool->config.background_interval_ns < 0;
}

void pool_background_stop(struct db_pool *pool)
{
    if (pool->has_background)
        CHECK_PTHREAD(pthread_join(pool->background, NULL));
    pool->has_background = false;
}
