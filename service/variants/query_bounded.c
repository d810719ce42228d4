/*
 * query=bounded: as query_per_item.c, but a request has no more than --fan-out-limit threads, each
 * of which takes the next item until none is left. A mitigation, not the fix, which is
 * query_batched.c: the pool still gets one query an item.
 */
#include "service/variants/item_fan_out.h"

#include <stdatomic.h>

/* FIX: of the crowd alone: only so many of these run at once, and the rest of the items wait here,
 * not in the pool's queue. */
static void fetch_items(void *context, unsigned thread)
{
    struct item_fan_out *items = context;
    unsigned index;
    (void)thread;
    while ((index = atomic_fetch_add(&items->next, 1)) < items->list.count)
        item_fan_out_fetch(items, index, query_with_connection, "query_bounded.c:fetch_items");
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    struct item_fan_out *items = item_fan_out_open(request, outcome);
    unsigned limit = request->environment->fan_out_limit;
    if (!items || !item_fan_out_list(items, "query_bounded.c:run", item_fan_out_read_list))
        return item_fan_out_fail(items);
    return item_fan_out_run(items, limit < request->items ? limit : request->items, fetch_items);
}

const struct query_ops query_bounded = {"bounded", run};
