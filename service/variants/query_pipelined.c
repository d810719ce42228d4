/*
 * query=pipelined: the list, then all items' queries at once, in one pipeline over the one
 * connection that was checked out. FIX of query_per_item.c, where the queries themselves are to
 * stay.
 */
#include "service/variants/whole_feed.h"

#include <stdlib.h>

/* FIX: two round trips, and one connection held for as long. */
static bool fetch_items(struct db_conn *conn, void *context, struct failure *failure)
{
    const struct whole_feed *feed = context;
    const struct query_request *request = feed->request;
    const struct queries *queries = &request->environment->queries;
    struct id_list list;
    bool ok =
        queries_feed_list(queries, conn, request->feed_id, request->items, request->wait_ns, &list,
                          failure) &&
        queries_videos(queries, conn, &list, request->wait_ns, whole_feed_put, context, failure);
    free(list.ids);
    return ok;
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    return whole_feed_run(request, "query_pipelined.c:fetch_items", fetch_items, outcome);
}

const struct query_ops query_pipelined = {"pipelined", run};
