/*
 * Checkouts that are called off together: those of one request's items, once one of them failed.
 */
#ifndef FLASHOVER_SERVICE_POOL_GROUP_H
#define FLASHOVER_SERVICE_POOL_GROUP_H

#include <stdbool.h>

struct db_pool;

/* Must outlive every checkout that names it (struct db_checkout). Starts as false. */
struct db_checkout_group {
    _Atomic bool called_off; /* any thread may read; only db_pool_call_off() sets it */
};

/* Refuses the group's checkouts that wait, and all later ones. A connection that was handed over
 * before stays with its holder, who reads `called_off` before it uses it. Any thread; takes the
 * pool's lock, for a walk along the queue. A second call does nothing. */
void db_pool_call_off(struct db_pool *pool, struct db_checkout_group *group);

#endif
