/*
 * What the variants share that fetch a whole feed over one connection, in the request's own thread.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_QUERY_WHOLE_FEED_H
#define FLASHOVER_SERVICE_VARIANTS_QUERY_WHOLE_FEED_H

#include "service/variants/query/query.h"

struct whole_feed {
    const struct query_request *request;
    struct query_outcome *outcome;
    struct result_map *map;
    unsigned rows; /* put so far: rows come in no order, so that is the next one's index */
};

/* Clears *outcome and makes the map. False without memory, and outcome->failure says so. */
bool whole_feed_open(struct whole_feed *feed, const struct query_request *request,
                     struct query_outcome *outcome) __attribute__((warn_unused_result));

/* Puts a video into the map; `context` is a struct whole_feed. False without memory. */
bool whole_feed_put(void *context, const struct video *video);

/* The feed could not be fetched: counts the failure, which is the outcome's. */
void whole_feed_failed(struct whole_feed *feed, const struct failure *failure);

/* Gives the map to the outcome, or frees it where the feed could not be fetched. The result is
 * query_ops.run's. */
bool whole_feed_collect(struct whole_feed *feed);

#endif
