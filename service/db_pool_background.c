/* CMAP's background thread: from time to time it ends what is too old, and has min_size filled up.
 */
#include "service/db_pool_slots.h"
#include "service/db_pool_threads.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/thread_state.h"

/* Lock held, and given up for the call. */
static void report_episode(struct db_pool *pool)
{
    if (!pool->episode_began)
        return;
    pool->episode_began = false;
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    thread_state_set(THREAD_RUNNING);
    if (pool->config.on_episode)
        pool->config.on_episode(pool->config.episode_context);
    thread_state_set(THREAD_IDLE);
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
}

static void *background_main(void *argument)
{
    struct db_pool *pool = argument;
    thread_state_enter("pool background", "");
    thread_state_set(THREAD_IDLE);
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    while (pool->state != DB_POOL_CLOSED) {
        int64_t now_ns = clock_now_ns();
        struct timespec until = clock_timespec(now_ns + pool->config.background_interval_ns);
        int result = 0;
        pool->background_due = false;
        pool_retire_idle(pool, REASON_NONE, now_ns);
        CHECK_PTHREAD(pthread_cond_broadcast(&pool->connector_work));
        report_episode(pool);
        while (!pool->background_due && pool->state != DB_POOL_CLOSED && result == 0)
            result = pthread_cond_timedwait(&pool->background_work, &pool->lock, &until);
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
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
