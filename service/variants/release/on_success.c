/*
 * release=on_success: the connection goes back only when the query succeeded.
 * BUG, mended in always.c.
 */
#include "service/variants/release/release.h"

static void give_back(struct db_pool *pool, struct db_slot **slot, bool query_succeeded)
{
    /* FLAW: the error path forgets the connection. It stays checked out until the process
     * ends, and no thread uses it. */
    if (query_succeeded)
        db_pool_checkin(pool, slot);
    *slot = NULL;
}

const struct release_ops release_on_success = {give_back};
