/*
 * release=always: the connection goes back on every path.
 * FIX of on_success.c.
 */
#include "service/variants/release/release.h"

static void give_back(struct db_pool *pool, struct db_slot **slot, bool query_succeeded)
{
    /* FIX: success or not, the pool gets it back, and decides itself whether it is still fit for
     * use. */
    (void)query_succeeded;
    db_pool_checkin(pool, slot);
}

const struct release_ops release_always = {give_back};
