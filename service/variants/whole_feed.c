#include "service/variants/whole_feed.h"

bool whole_feed_put(void *context, const struct video *video)
{
    struct whole_feed *feed = context;
    return feed->request->variants.map->put(feed->map, feed->rows++, video);
}

bool whole_feed_run(const struct query_request *request, const char *call_site,
                    bool (*use)(struct db_conn *conn, void *context, struct failure *failure),
                    struct query_outcome *outcome)
{
    const struct map_ops *map = request->variants.map;
    struct whole_feed feed = {.request = request,
                              .map = map->create(request->variants.fatal, request->items)};
    const struct query_step step = {
        .call_site = call_site, .query = "feed", .use = use, .context = &feed};
    *outcome = (struct query_outcome){0};
    if (!feed.map)
        return failure_set(&outcome->failure, FAILURE_LIMIT, "out of memory");
    if (!query_with_connection(request, &step, &outcome->failure)) {
        outcome->failed_items[outcome->failure.kind]++;
        map->destroy(feed.map);
        return false;
    }
    outcome->map = feed.map;
    return true;
}
