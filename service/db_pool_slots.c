/* A connection's states, and how it comes to its end. */
#include "service/db_pool_slots.h"
#include "service/db_pool_threads.h"

#include "common/check.h"
#include "common/clock.h"

void pool_slot_set_state(struct db_pool *pool, struct db_lease *slot, enum slot_state from,
                         enum slot_state to)
{
    assert(slot->state == from);
    assert(pool->counts[from] > 0);
    slot->state = to;
    pool->counts[from]--;
    pool->counts[to]++;
}

enum db_pool_reason pool_slot_perished(const struct db_pool *pool, const struct db_lease *slot,
                                       int64_t now_ns)
{
    if (slot->generation != pool->generation)
        return CLOSED_STALE;
    if (pool->config.max_idle_ns > 0 && slot->state == SLOT_IDLE &&
        now_ns - slot->idle_since_ns >= pool->config.max_idle_ns)
        return CLOSED_IDLE;
    return now_ns >= slot->expires_at_ns ? CLOSED_LIFETIME : REASON_NONE;
}

void pool_slot_say_closed(struct db_pool *pool, struct db_lease *slot, enum db_pool_reason reason)
{
    if (slot->is_closed)
        return;
    slot->is_closed = true;
    if (slot->holder.connection_id == 0)
        return; /* the prober's, which was never announced */
    pool_emit(pool, (struct db_pool_event){.type = CONNECTION_CLOSED,
                                           .reason = reason,
                                           .connection_id = slot->holder.connection_id});
}

void pool_slot_retire(struct db_pool *pool, struct db_lease *slot, enum slot_state from,
                      enum db_pool_reason reason)
{
    pool_slot_say_closed(pool, slot, reason);
    slot->tend_until_ns = clock_now_ns() + pool->config.close_timeout_ns;
    slot->closing_fd = -1;
    pool_slot_set_state(pool, slot, from, SLOT_CLOSING);
    pool_wake_tender(pool);
}

struct db_lease *pool_take_idle(struct db_pool *pool, int64_t now_ns)
{
    struct db_lease *slot;
    while ((slot = pool->idle)) {
        pool->idle = slot->next_idle;
        enum db_pool_reason reason = pool_slot_perished(pool, slot, now_ns);
        if (reason == REASON_NONE)
            return slot;
        pool_slot_retire(pool, slot, SLOT_IDLE, reason);
    }
    return NULL;
}

void pool_retire_idle(struct db_pool *pool, enum db_pool_reason all_reason, int64_t now_ns)
{
    struct db_lease **link = &pool->idle;
    while (*link) {
        struct db_lease *slot = *link;
        enum db_pool_reason reason =
            all_reason != REASON_NONE ? all_reason : pool_slot_perished(pool, slot, now_ns);
        if (reason == REASON_NONE) {
            link = &slot->next_idle;
            continue;
        }
        *link = slot->next_idle;
        pool_slot_retire(pool, slot, SLOT_IDLE, reason);
    }
}

/* xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled").
 */
double pool_jitter(struct db_pool *pool, double low, double high)
{
    uint64_t x = pool->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    pool->random = x;
    double unit = (double)((x * UINT64_C(0x2545f4914f6cdd1d)) >> 11) * 0x1.0p-53;
    return low + (high - low) * unit;
}
