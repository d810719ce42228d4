/*
 * The toggle `cancel`: what the first item's error means for the other items of its request.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_CANCEL_CANCEL_H
#define FLASHOVER_SERVICE_VARIANTS_CANCEL_CANCEL_H

#include "service/pool/pool.h"

struct cancel_ops {
    /* An item has failed, so that its request has: called in that item's thread, without a lock,
     * perhaps more than once. `items` is the group that all of them check out in. */
    void (*item_failed)(struct db_pool *pool, struct db_checkout_group *items);
};

extern const struct cancel_ops cancel_siblings;
extern const struct cancel_ops cancel_never;

#endif
