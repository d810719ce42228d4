/* A connection's states and its end. */
#include "service/pool/slots.h"
#include "service/pool/lock.h"

#include "common/check.h"
#include "common/clock.h"

#include <unistd.h>

void pool_slot_set_state(struct db_pool *pool, struct db_slot *slot, enum slot_state from,
                         enum slot_state to)
{
    pool_assert_held(pool);
    assert(slot >= pool->slots && slot < pool->slots + pool->config.max_size);
    assert(slot->state == from);
    assert(pool->counts[from] > 0);
    slot->state = to;
    pool->counts[from]--;
    pool->counts[to]++;
}

enum db_pool_reason pool_slot_perished(const struct db_pool *pool, const struct db_slot *slot,
                                       int64_t now_ns)
{
    pool_assert_held(pool);
    if (slot->generation != pool->generation)
        return CLOSED_STALE;
    if (pool->config.max_idle_ns > 0 && slot->state == SLOT_IDLE &&
        now_ns - slot->idle_since_ns >= pool->config.max_idle_ns)
        return CLOSED_IDLE;
    return now_ns >= slot->expires_at_ns ? CLOSED_LIFETIME : REASON_NONE;
}

void pool_slot_say_closed(struct db_pool *pool, struct db_slot *slot, enum db_pool_reason reason)
{
    pool_assert_held(pool);
    if (slot->is_closed)
        return;
    slot->is_closed = true;
    if (slot->holder.connection_id == 0)
        return; /* a probe's: it was never announced */
    pool_emit(pool, (struct db_pool_event){.type = CONNECTION_CLOSED,
                                           .reason = reason,
                                           .connection_id = slot->holder.connection_id});
}

void pool_wake_tender(const struct db_pool *pool)
{
    uint64_t one = 1;
    ssize_t written = write(pool->tender_wake_fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
}

void pool_slot_interrupt_connect(const struct db_slot *slot)
{
    pool_assert_held(slot->by->pool);
    assert(slot->state == SLOT_CONNECTING);
    uint64_t one = 1;
    ssize_t written = write(slot->by->interrupt_fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
}

void pool_slot_retire(struct db_pool *pool, struct db_slot *slot, enum slot_state from,
                      enum db_pool_reason reason)
{
    pool_assert_held(pool);
    assert(from != SLOT_EMPTY && from != SLOT_CLOSING);
    pool_slot_say_closed(pool, slot, reason);
    slot->tend_until_ns = clock_now_ns() + pool->config.close_timeout_ns;
    slot->closing_fd = -1;
    pool_slot_set_state(pool, slot, from, SLOT_CLOSING);
    pool_wake_tender(pool);
}

struct db_slot *pool_take_idle(struct db_pool *pool, int64_t now_ns)
{
    pool_assert_held(pool);
    struct db_slot *slot;
    while ((slot = LIST_FIRST(&pool->idle))) {
        assert(slot->state == SLOT_IDLE && slot->connection);
        LIST_REMOVE(slot, idle_link);
        enum db_pool_reason reason = pool_slot_perished(pool, slot, now_ns);
        if (reason == REASON_NONE)
            return slot;
        pool_slot_retire(pool, slot, SLOT_IDLE, reason);
    }
    return NULL;
}

void pool_retire_idle(struct db_pool *pool, enum db_pool_reason all_reason, int64_t now_ns)
{
    pool_assert_held(pool);
    struct db_slot *next;
    for (struct db_slot *slot = LIST_FIRST(&pool->idle); slot; slot = next) {
        enum db_pool_reason reason =
            all_reason != REASON_NONE ? all_reason : pool_slot_perished(pool, slot, now_ns);
        next = LIST_NEXT(slot, idle_link);
        if (reason == REASON_NONE &&
            pool->config.connector.consume(slot->connection) != DB_CONN_IDLE)
            reason = CLOSED_ERROR;
        if (reason == REASON_NONE)
            continue;
        LIST_REMOVE(slot, idle_link);
        pool_slot_retire(pool, slot, SLOT_IDLE, reason);
    }
}
