/*
 * query=batched: one query, one checkout for the whole feed.
 * FIX of query_per_item.c.
 */
#include "service/variants/query.h"

struct whole_feed {
    const struct query_request *request;
    struct result_map *map;
    unsigned rows; /* put so far: rows come in no order, so that is the next one's index */
};

static bool put_video(void *context, const struct video *video)
{
    struct whole_feed *feed = context;
    return feed->request->variants.map->put(feed->map, feed->rows++, video);
}

/* FIX: all rows in one round trip. The put comes before the check-in, as in the sibling. */
static bool fetch_feed(struct db_conn *conn, void *context, struct failure *failure)
{
    const struct whole_feed *feed = context;
    const struct query_request *request = feed->request;
    return queries_feed(&request->environment->queries, conn, request->feed_id, request->items,
                        request->deadline_ns, put_video, context, failure);
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    const struct map_ops *map = request->variants.map;
    struct whole_feed feed = {.request = request,
                              .map = map->create(request->variants.fatal, request->items)};
    *outcome = (struct query_outcome){0};
    if (!feed.map)
        return failure_set(&outcome->failure, FAILURE_LIMIT, "out of memory");
    if (!query_with_connection(request, "query_batched.c:fetch_feed", "feed", fetch_feed, &feed,
                               &outcome->failure)) {
        outcome->failed_items[outcome->failure.kind]++;
        map->destroy(feed.map);
        return false;
    }
    outcome->map = feed.map;
    return true;
}

const struct query_ops query_batched = {"batched", run};
