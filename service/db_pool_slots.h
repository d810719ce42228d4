/*
 * A connection's states and its end, for the pool's own files. All with the pool's lock held.
 */
#ifndef FLASHOVER_DB_POOL_SLOTS_H
#define FLASHOVER_DB_POOL_SLOTS_H

#include "service/db_pool_internal.h"

/* The one place where a slot's state changes: moves the counters, asserts the old state. */
void pool_slot_set_state(struct db_pool *pool, struct db_lease *slot, enum slot_state from,
                         enum slot_state to);

/* Why an available connection may not be handed out any more, or REASON_NONE (CMAP: perished). */
enum db_pool_reason pool_slot_perished(const struct db_pool *pool, const struct db_lease *slot,
                                       int64_t now_ns);

/* Says that the connection is closed, unless that was said. */
void pool_slot_say_closed(struct db_pool *pool, struct db_lease *slot, enum db_pool_reason reason);

/* A connection ends: the event, and the tender does the rest. */
void pool_slot_retire(struct db_pool *pool, struct db_lease *slot, enum slot_state from,
                      enum db_pool_reason reason);

/* The most recently used available connection that has not perished, or NULL; the others found on
 * the way are retired. It is not on the list of the idle any more. */
struct db_lease *pool_take_idle(struct db_pool *pool, int64_t now_ns);

/* Retires all available connections that have perished, or for `all_reason` where that is set. */
void pool_retire_idle(struct db_pool *pool, enum db_pool_reason all_reason, int64_t now_ns);

/* A number in [low, high), from the pool's own generator. */
double pool_jitter(struct db_pool *pool, double low, double high);

#endif
