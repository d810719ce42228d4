/* The flight recorder: a ring of the pool's last events. */
#include "service/pool/lock.h"
#include "service/pool/pool_private.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/base/thread_state.h"

bool pool_recorder_init(struct db_pool *pool)
{
    if (pool->config.recorder_events == 0)
        return true;
    pool->ring = calloc(pool->config.recorder_events, sizeof *pool->ring);
    return pool->ring != NULL;
}

void pool_emit(struct db_pool *pool, struct db_pool_event event)
{
    pool_assert_held(pool);
    assert(event.type < DB_POOL_EVENT_TYPES && event.reason < DB_POOL_REASONS);
    if (!pool->ring && !pool->config.on_event)
        return;
    if (event.at_ns == 0)
        event.at_ns = clock_now_ns();
    event.tid = thread_state_tid();
    memcpy(event.request, thread_state_request(NULL), sizeof event.request - 1);
    if (pool->ring)
        pool->ring[pool->recorded++ % pool->config.recorder_events] = event;
    if (pool->config.on_event)
        pool->config.on_event(pool->config.event_context, &event);
}

size_t db_pool_events(struct db_pool *pool, struct db_pool_event **events)
{
    size_t capacity = pool->config.recorder_events;
    *events = calloc(capacity > 0 ? capacity : 1, sizeof **events);
    if (!*events || !pool->ring)
        return 0;
    assert(capacity > 0);
    pool_lock(pool);
    size_t count = pool->recorded < capacity ? (size_t)pool->recorded : capacity;
    size_t first = (size_t)((pool->recorded - count) % capacity);
    size_t to_the_end = capacity - first < count ? capacity - first : count;
    assert(to_the_end <= count && count <= capacity);
    memcpy(*events, pool->ring + first, to_the_end * sizeof **events);
    memcpy(*events + to_the_end, pool->ring, (count - to_the_end) * sizeof **events);
    pool_unlock(pool);
    return count;
}
