/*
 * A connection's states and its end, for the pool's own files. All with the pool's lock held,
 * except pool_wake_tender().
 */
#ifndef FLASHOVER_SERVICE_POOL_SLOTS_H
#define FLASHOVER_SERVICE_POOL_SLOTS_H

#include "service/pool/pool_private.h"

/* The one place where a slot's state changes: moves the counters, asserts the old state. */
void pool_slot_set_state(struct db_pool *pool, struct db_slot *slot, enum slot_state from,
                         enum slot_state to);

/* Connections that exist, and can be handed out now or later. */
static inline unsigned pool_working(const struct db_pool *pool)
{
    return pool->counts[SLOT_IDLE] + pool->counts[SLOT_IN_USE] + pool->counts[SLOT_DRAINING] +
           pool->counts[SLOT_CANCELLING];
}

/* Why an available connection may not be handed out any more, or REASON_NONE (CMAP: perished). */
enum db_pool_reason pool_slot_perished(const struct db_pool *pool, const struct db_slot *slot,
                                       int64_t now_ns);

/* Emits ConnectionClosed, once for each connection. */
void pool_slot_say_closed(struct db_pool *pool, struct db_slot *slot, enum db_pool_reason reason);

/* Ends a connection: emits the event, and passes the slot to the tender. */
void pool_slot_retire(struct db_pool *pool, struct db_slot *slot, enum slot_state from,
                      enum db_pool_reason reason);

/* Takes the last used connection that has not perished off the idle list, or returns NULL. Retires
 * perished ones that it meets. */
struct db_slot *pool_take_idle(struct db_pool *pool, int64_t now_ns);

/* Retires the idle connections that have perished or died; with an `all_reason`, all of them. Looks
 * at their sockets. */
void pool_retire_idle(struct db_pool *pool, enum db_pool_reason all_reason, int64_t now_ns);

/* The tender looks for work. With or without the lock. */
void pool_wake_tender(const struct db_pool *pool);

/* The connector thread gives up this connect. The slot is CONNECTING. */
void pool_slot_interrupt_connect(const struct db_slot *slot);

#endif
