/*
 * query=pipelined: the list, then all items' queries at once, in one pipeline over the one
 * connection that was checked out. FIX of per_item.c, where the queries themselves are to
 * stay.
 */
#include "service/variants/query/whole_feed.h"

#include <stdlib.h>

/* FIX: two round trips, and one connection held for as long. */
static void fetch_feed(struct whole_feed *feed)
{
    const struct query_request *request = feed->request;
    struct db_slot *slot;
    struct id_list list;
    struct failure failure = {0};
    bool ok =
        query_checkout(request, "query/pipelined.c:fetch_feed", "feed", NULL, &slot, &failure);
    if (ok) {
        struct db_conn *conn = db_slot_connection(slot);
        ok = query_list(request, conn, &list, &failure) &&
             queries_videos(&request->environment->queries, conn, &list, request->wait_ns,
                            whole_feed_put, feed, &failure);
        free(list.ids);
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

const struct query_ops query_pipelined = {run};
