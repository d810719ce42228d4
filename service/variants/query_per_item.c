/*
 * query=per_item: one query for the feed's list, then one thread, one checkout and one query per
 * item. BUG, mended in query_batched.c.
 */
#include "service/variants/item_fan_out.h"

/* FLAW: three hundred of these run at once, and each wants a connection of its own. */
static void fetch_item(void *context, unsigned index)
{
    item_fan_out_fetch(context, index, query_with_connection, "query_per_item.c:fetch_item");
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    struct item_fan_out *items = item_fan_out_open(request, outcome);
    if (!items || !item_fan_out_list(items, "query_per_item.c:run", item_fan_out_read_list))
        return item_fan_out_fail(items);
    return item_fan_out_run(items, request->items, fetch_item);
}

const struct query_ops query_per_item = {"per_item", run};
