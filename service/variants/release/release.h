/*
 * The toggle `release`: on which paths a connection goes back to the pool.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_RELEASE_RELEASE_H
#define FLASHOVER_SERVICE_VARIANTS_RELEASE_RELEASE_H

#include "service/pool/pool.h"

struct release_ops {
    /* Ends the use of *slot and clears it. */
    void (*give_back)(struct db_pool *pool, struct db_slot **slot, bool query_succeeded);
};

extern const struct release_ops release_always;
extern const struct release_ops release_on_success;

#endif
