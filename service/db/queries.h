/*
 * The queries of the service, over a checked-out connection. Each is one prepared statement, one
 * round trip. The exception is the pipeline: one statement many times, in one round trip.
 */
#ifndef FLASHOVER_SERVICE_DB_QUERIES_H
#define FLASHOVER_SERVICE_DB_QUERIES_H

#include "service/db/conn.h"
#include "service/db/decode.h"

/* The most items that one request may ask for; a feed holds as many. */
#define QUERIES_MAX_ITEMS 1000

struct queries {
    struct db_statement feed_list, video, feed;
    double latency_s; /* of one round trip: the server sleeps once per statement; 0: none */
};

/* The statements for a query latency, in milliseconds; 0: none. */
struct queries queries_make(double latency_ms);

/* The first `items` ids of a feed, in position order. False as decode_feed_list() or
 * db_conn_query(). */
bool queries_feed_list(const struct queries *queries, struct db_conn *conn, int64_t feed_id,
                       unsigned items, int64_t deadline_ns, struct id_list *list,
                       struct failure *failure) __attribute__((warn_unused_result));

/* One video. False as decode_video() or db_conn_query(). */
bool queries_video(const struct queries *queries, struct db_conn *conn, int64_t video_id,
                   int64_t deadline_ns, struct video *video, struct failure *failure)
    __attribute__((warn_unused_result));

/* The videos of a list, in one pipeline: a statement for each, and one round trip for all of them.
 * Each is handed to `visit`, in the list's order. False as decode_video() or db_conn_pipeline(), or
 * LIMIT when a visit returned false, for want of memory. */
bool queries_videos(const struct queries *queries, struct db_conn *conn, const struct id_list *list,
                    int64_t deadline_ns, video_visit *visit, void *context, struct failure *failure)
    __attribute__((warn_unused_result));

/* The videos of a feed's first `items` positions, in no order, each handed to `visit`. False as
 * queries_feed_list() and queries_video(), or LIMIT when a visit returned false. */
bool queries_feed(const struct queries *queries, struct db_conn *conn, int64_t feed_id,
                  unsigned items, int64_t deadline_ns, video_visit *visit, void *context,
                  struct failure *failure) __attribute__((warn_unused_result));

#endif
