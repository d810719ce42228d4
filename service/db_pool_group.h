/*
 * Checkouts that are called off together: those of one request's items, once one of them failed.
 */
#ifndef FLASHOVER_DB_POOL_GROUP_H
#define FLASHOVER_DB_POOL_GROUP_H

#include <stdbool.h>

struct db_pool;

/* Lives for longer than any checkout that names it (struct db_checkout). Starts as false. */
struct db_checkout_group {
    _Atomic bool called_off; /* any thread may look; set by db_pool_call_off() only, never unset */
};

/* Turns away the group's checkouts that wait, and all that come later. A connection that was handed
 * over already is its holder's, who looks at `called_off` before using it. Any thread; takes the
 * pool's lock, for a walk along the queue. May be called again: nothing is left to do then. */
void db_pool_call_off(struct db_pool *pool, struct db_checkout_group *group);

#endif
