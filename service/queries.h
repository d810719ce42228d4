/*
 * The queries of the service, over a checked-out connection. Each is one prepared statement, one
 * round trip, but for the pipeline: one statement again and again, one round trip.
 */
#ifndef FLASHOVER_QUERIES_H
#define FLASHOVER_QUERIES_H

#include "service/db_conn.h"

#define VIDEO_TITLE_SIZE 32
/* The most items that one request may ask for; a feed holds as many. */
#define QUERIES_MAX_ITEMS 1000

struct video {
    int64_t id, views, likes;
    char title[VIDEO_TITLE_SIZE];
};

struct id_list {
    int64_t *ids; /* owned; free() */
    unsigned count;
};

struct queries {
    struct db_statement feed_list, video, feed;
    double latency_s; /* one round trip's cost, slept in the server once per statement; 0: none */
};

/* The statements for one query latency, in milliseconds (design: "Capacity on paper"). */
struct queries queries_make(double latency_ms);

/* The first `items` ids of a feed, in position order. False with NOT_FOUND where there is no such
 * feed, DATABASE where it holds fewer, or as db_conn_query. */
bool queries_feed_list(const struct queries *queries, struct db_conn *conn, int64_t feed_id,
                       unsigned items, int64_t deadline_ns, struct id_list *list,
                       struct failure *failure) __attribute__((warn_unused_result));

/* One video. False with DATABASE where it does not exist, or as db_conn_query. */
bool queries_video(const struct queries *queries, struct db_conn *conn, int64_t video_id,
                   int64_t deadline_ns, struct video *video, struct failure *failure)
    __attribute__((warn_unused_result));

/* The videos of a list, in one pipeline: a statement for each, and one round trip for all of them.
 * Each is handed to `visit`, in the list's order. False with DATABASE where one does not exist,
 * LIMIT when a visit returned false, for want of memory, or as db_conn_pipeline. */
bool queries_videos(const struct queries *queries, struct db_conn *conn, const struct id_list *list,
                    int64_t deadline_ns, bool (*visit)(void *context, const struct video *video),
                    void *context, struct failure *failure) __attribute__((warn_unused_result));

/* The videos of a feed's first `items` positions, in no order, each handed to `visit`; errors as
 * queries_feed_list, or LIMIT when a visit returned false, for want of memory. */
bool queries_feed(const struct queries *queries, struct db_conn *conn, int64_t feed_id,
                  unsigned items, int64_t deadline_ns,
                  bool (*visit)(void *context, const struct video *video), void *context,
                  struct failure *failure) __attribute__((warn_unused_result));

#endif
