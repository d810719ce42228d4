/*
 * The toggle `release`: on which paths a connection goes back to the pool.
 */
#ifndef FLASHOVER_RELEASE_H
#define FLASHOVER_RELEASE_H

#include "service/db_pool.h"

struct release_ops {
    const char *name;
    /* Ends the use of *lease and clears it. */
    void (*give_back)(struct db_pool *pool, struct db_lease **lease, bool query_succeeded);
};

extern const struct release_ops release_always;
extern const struct release_ops release_on_success;

#endif
