/*
 * query=batched: one query, one checkout for the whole feed.
 * FIX of per_item.c.
 */
#include "service/variants/query/whole_feed.h"

/* FIX: all rows in one round trip. The put comes before the check-in, as in the sibling. */
static void fetch_feed(struct whole_feed *feed)
{
    const struct query_request *request = feed->request;
    struct db_slot *slot;
    struct failure failure = {0};
    bool ok = query_checkout(request, "query/batched.c:fetch_feed", "feed", NULL, &slot, &failure);
    if (ok) {
        ok =
            queries_feed(&request->environment->queries, db_slot_connection(slot), request->feed_id,
                         request->items, request->wait_ns, whole_feed_put, feed, &failure);
        query_checkin(request, &slot, ok, &failure);
    }
    if (!ok)
        whole_feed_failed(feed, &failure);
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    struct whole_feed feed;
    if (!whole_feed_open(&feed, request, outcome))
        return false;
    fetch_feed(&feed);
    return whole_feed_collect(&feed);
}

const struct query_ops query_batched = {run};
