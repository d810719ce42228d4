/*
 * query=bounded: as per_item.c, but a request has no more than --fan-out-limit threads, each
 * of which takes the next item until none is left. A mitigation, not the fix, which is
 * batched.c: the pool still gets one query an item.
 */
#include "service/variants/query/item_fan_out.h"

#include <stdatomic.h>

/* FIX: of the crowd alone: only so many of these run at once, and the rest of the items wait here,
 * not in the pool's queue. */
static void fetch_item(void *context, unsigned thread)
{
    struct item_fan_out *items = context;
    const struct query_request *request = &items->request;
    struct db_slot *slot;
    struct video video;
    struct failure failure = {0};
    unsigned index;
    (void)thread;
    while ((index = atomic_fetch_add(&items->next, 1)) < items->list.count) {
        bool ok = query_has_time(request, &failure) &&
                  query_checkout(request, "query/bounded.c:fetch_item", "video", &items->group,
                                 &slot, &failure);
        if (ok) {
            ok = query_video(request, db_slot_connection(slot), items->list.ids[index], &video,
                             &failure) &&
                 query_put(request, items->map, index, &video, &failure);
            query_checkin(request, &slot, ok, &failure);
        }
        if (!ok)
            item_fan_out_item_failed(items, &failure);
    }
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    /* 1. The feed's list: one checkout, one query. */
    struct item_fan_out *items = item_fan_out_open(request, outcome);
    struct db_slot *slot;
    bool ok = items && query_checkout(request, "query/bounded.c:run", "feed_list", NULL, &slot,
                                      &outcome->failure);
    if (ok) {
        ok = query_list(request, db_slot_connection(slot), &items->list, &outcome->failure);
        query_checkin(request, &slot, ok, &outcome->failure);
    }
    if (!ok)
        return item_fan_out_abandon(items);

    /* 2. Threads, but never more than the limit. */
    unsigned limit = request->environment->fan_out_limit;
    unsigned threads = limit < items->list.count ? limit : items->list.count;
    bool may_start = item_fan_out_take(items, threads);
    for (unsigned thread = 0; may_start && thread < threads; thread++)
        may_start = item_fan_out_start(items, fetch_item, thread);

    /* 3. Wait for them, and collect what they fetched. */
    item_fan_out_wait(items);
    return item_fan_out_collect(items);
}

const struct query_ops query_bounded = {run};
