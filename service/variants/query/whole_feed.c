#include "service/variants/query/whole_feed.h"

#include "common/check.h"

bool whole_feed_open(struct whole_feed *feed, const struct query_request *request,
                     struct query_outcome *outcome)
{
    *outcome = (struct query_outcome){0};
    *feed = (struct whole_feed){
        .request = request,
        .outcome = outcome,
        .map = request->variants.map->create(request->variants.fatal, request->items)};
    return feed->map || failure_set(&outcome->failure, FAILURE_LIMIT, "out of memory");
}

bool whole_feed_put(void *context, const struct video *video)
{
    struct whole_feed *feed = context;
    assert(feed->rows < feed->request->items);
    return feed->request->variants.map->put(feed->map, feed->rows++, video);
}

void whole_feed_failed(struct whole_feed *feed, const struct failure *failure)
{
    struct query_outcome *outcome = feed->outcome;
    assert(outcome->failure.kind == FAILURE_NONE);
    query_count_failure(feed->request, failure);
    outcome->failure = *failure;
    outcome->failed_items[failure->kind]++;
}

bool whole_feed_collect(struct whole_feed *feed)
{
    bool ok = feed->outcome->failure.kind == FAILURE_NONE;
    if (ok)
        feed->outcome->map = feed->map;
    else
        feed->request->variants.map->destroy(feed->map);
    feed->map = NULL;
    return ok;
}
