/*
 * query=nested: as per_item.c, but the list's connection is kept while the items' threads
 * wait for theirs. BUG, mended in batched.c.
 */
#include "service/variants/query/item_fan_out.h"

static void fetch_item(void *context, unsigned index)
{
    struct item_fan_out *items = context;
    const struct query_request *request = &items->request;
    struct db_slot *slot;
    struct video video;
    struct failure failure = {0};
    bool ok = query_checkout(request, "query/nested.c:fetch_item", "video", &items->group, &slot,
                             &failure);
    if (ok) {
        ok = query_video(request, db_slot_connection(slot), items->list.ids[index], &video,
                         &failure) &&
             query_put(request, items->map, index, &video, &failure);
        query_checkin(request, &slot, ok, &failure);
    }
    if (!ok)
        item_fan_out_item_failed(items, &failure);
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    /* 1. The feed's list: one checkout, one query. */
    struct item_fan_out *items = item_fan_out_open(request, outcome);
    struct db_slot *slot;
    bool ok = items && query_checkout(request, "query/nested.c:run", "feed_list", NULL, &slot,
                                      &outcome->failure);
    if (ok) {
        ok = query_list(request, db_slot_connection(slot), &items->list, &outcome->failure);
        if (!ok)
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
    /* FLAW: only now does the list's connection go back. As many such requests as the pool has
     * connections hold all of them, and each waits for its items, which wait for one of them: until
     * the deadline, none of them gets any further. */
    query_checkin(request, &slot, ok, &outcome->failure);
    return item_fan_out_collect(items);
}

const struct query_ops query_nested = {run};
