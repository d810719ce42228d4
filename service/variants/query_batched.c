/*
 * query=batched: one query, one checkout for the whole feed.
 * FIX of query_per_item.c.
 */
#include "service/variants/whole_feed.h"

/* FIX: all rows in one round trip. The put comes before the check-in, as in the sibling. */
static bool fetch_feed(struct db_conn *conn, void *context, struct failure *failure)
{
    const struct whole_feed *feed = context;
    const struct query_request *request = feed->request;
    return queries_feed(&request->environment->queries, conn, request->feed_id, request->items,
                        request->wait_ns, whole_feed_put, context, failure);
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    return whole_feed_run(request, "query_batched.c:fetch_feed", fetch_feed, outcome);
}

const struct query_ops query_batched = {"batched", run};
