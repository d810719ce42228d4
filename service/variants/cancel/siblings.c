/*
 * cancel=siblings: the first item's error stops the rest.
 * FIX of never.c.
 */
#include "service/variants/cancel/cancel.h"

static void item_failed(struct db_pool *pool, struct db_checkout_group *items)
{
    /* FIX: items that have not begun never do, and those in the queue leave it: their connections
     * are for requests that can still succeed. */
    db_pool_call_off(pool, items);
}

const struct cancel_ops cancel_siblings = {item_failed};
