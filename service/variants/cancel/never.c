/*
 * cancel=never: the others go on.
 * BUG, mended in siblings.c.
 */
#include "service/variants/cancel/cancel.h"

static void item_failed(struct db_pool *pool, struct db_checkout_group *items)
{
    /* FLAW: the answer is known, and still hundreds of threads queue and query for it. */
    (void)pool, (void)items;
}

const struct cancel_ops cancel_never = {item_failed};
