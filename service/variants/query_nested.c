/*
 * query=nested: as query_per_item.c, but the list's connection is kept while the items' threads
 * wait for theirs. BUG, mended in query_batched.c.
 */
#include "service/variants/item_fan_out.h"

static void fetch_item(void *context, unsigned index)
{
    item_fan_out_fetch(context, index, query_with_connection, "query_nested.c:fetch_item");
}

/* FLAW: as many such requests as the pool has connections hold all of them, and each waits for its
 * items, which wait for one of them: until the deadline, nobody gets anywhere. */
static bool fetch_all(struct db_conn *conn, void *context, struct failure *failure)
{
    struct item_fan_out *items = context;
    if (!item_fan_out_read_list(conn, items, failure))
        return false;
    (void)item_fan_out_run(items, items->request.items, fetch_item);
    return true; /* the list's query succeeded; what became of the items is in the outcome */
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    struct item_fan_out *items = item_fan_out_open(request, outcome);
    if (!items || !item_fan_out_list(items, "query_nested.c:fetch_all", fetch_all))
        return item_fan_out_fail(items);
    return outcome->map != NULL;
}

const struct query_ops query_nested = {"nested", run};
