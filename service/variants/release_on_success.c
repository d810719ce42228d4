/*
 * release=on_success: the connection goes back only when the query succeeded.
 * BUG, mended in release_always.c.
 */
#include "service/variants/release.h"

static void give_back(struct db_pool *pool, struct db_lease **lease, bool query_succeeded)
{
    /* FLAW: the error path forgets the connection. It stays checked out, by nobody, until the
     * process ends. */
    if (query_succeeded)
        db_pool_checkin(pool, lease);
    *lease = NULL;
}

const struct release_ops release_on_success = {"on_success", give_back};
