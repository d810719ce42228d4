/*
 * What the variants share that fetch a whole feed over one connection, in the request's own thread.
 */
#ifndef FLASHOVER_WHOLE_FEED_H
#define FLASHOVER_WHOLE_FEED_H

#include "service/variants/query.h"

struct whole_feed {
    const struct query_request *request;
    struct result_map *map;
    unsigned rows; /* put so far: rows come in no order, so that is the next one's index */
};

/* Puts a video into the map; `context` is a struct whole_feed. False without memory. */
bool whole_feed_put(void *context, const struct video *video);

/* Makes the map, has `use` fill it over one checked-out connection, with a struct whole_feed as its
 * context, and hands it to the outcome. The result is query_ops.run's. */
bool whole_feed_run(const struct query_request *request, const char *call_site,
                    bool (*use)(struct db_conn *conn, void *context, struct failure *failure),
                    struct query_outcome *outcome);

#endif
