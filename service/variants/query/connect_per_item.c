/*
 * query=connect_per_item: as per_item.c, but each item makes a connection of its own, and
 * there is no pool. BUG, mended in batched.c.
 */
#include "service/variants/query/item_fan_out.h"

/* FLAW: connecting to the database inside a loop. Each of these costs a process in the server and a
 * login, and the service does not count them. The server does, and refuses those beyond
 * max_connections. */
static void fetch_item(void *context, unsigned index)
{
    struct item_fan_out *items = context;
    const struct query_request *request = &items->request;
    struct video video;
    struct failure failure = {0};
    struct db_conn *conn = query_connect(request, &items->group, &failure);
    bool ok = conn != NULL;
    if (ok) {
        ok = query_video(request, conn, items->list.ids[index], &video, &failure) &&
             query_put(request, items->map, index, &video, &failure);
        db_conn_close(conn);
    }
    if (!ok)
        item_fan_out_item_failed(items, &failure);
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    /* 1. The feed's list: one checkout, one query. */
    struct item_fan_out *items = item_fan_out_open(request, outcome);
    struct db_slot *slot;
    bool ok = items && query_checkout(request, "query/connect_per_item.c:run", "feed_list", NULL,
                                      &slot, &outcome->failure);
    if (ok) {
        ok = query_list(request, db_slot_connection(slot), &items->list, &outcome->failure);
        query_checkin(request, &slot, ok, &outcome->failure);
    }
    if (!ok)
        return item_fan_out_abandon(items);

    /* 2. A thread for each item. All are there before the first starts. */
    bool may_start = item_fan_out_take(items, items->list.count);
    for (unsigned index = 0; may_start && index < items->list.count; index++)
        may_start = item_fan_out_start(items, fetch_item, index);

    /* 3. Wait for them, and collect what they fetched. */
    item_fan_out_wait(items);
    return item_fan_out_collect(items);
}

const struct query_ops query_connect_per_item = {run};
