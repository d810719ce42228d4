#include "service/db/queries.h"

#include "common/check.h"

#include <stdlib.h>

/* The round trip's cost: a materialized CTE that the query reads runs once per statement. In the
 * select list it would run once per row; unreferenced, not at all. Every statement has $1, so all
 * calls are the same. */
#define ROUND_TRIP      "WITH rtt AS MATERIALIZED (SELECT pg_sleep($1)) "
#define FROM_ROUND_TRIP " FROM rtt, "
#define FROM_NOTHING    " FROM "

/* A row for each position of the feed's list, whatever it holds; one without a position where the
 * list is empty; none where there is no such feed. */
#define LIST                                                                                       \
    "feed f LEFT JOIN LATERAL unnest(f.video_ids[1:$3::int]) WITH ORDINALITY "                     \
    "AS ids(id, position) ON true "
#define FEED_LIST(with, from)                                                                      \
    with "SELECT ids.id, ids.position" from LIST "WHERE f.id = $2 ORDER BY ids.position"
#define VIDEO(with, from)                                                                          \
    with "SELECT v.id, v.views, v.likes, v.title" from "video v WHERE v.id = $2"
/* Finds each video once, so where the list is not as it should be, rows are missing. A list of
 * another type has no rows: it is asked once, where a column of the result would cost 300 times. A
 * domain's slice has the type below the domain; an array of a domain over bigint reads alike. */
#define FEED(with, from)                                                                           \
    with "SELECT v.id, v.views, v.likes, v.title" from                                             \
         "feed f JOIN video v ON v.id = ANY (f.video_ids[1:$3::int]) "                             \
         "WHERE f.id = $2 AND (pg_typeof(f.video_ids[1:1]) = 'bigint[]'::regtype OR EXISTS ("      \
         "SELECT FROM pg_type a JOIN pg_type e ON e.oid = a.typelem WHERE "                        \
         "a.oid = pg_typeof(f.video_ids[1:1]) AND e.typbasetype = 'bigint'::regtype))"

/* pg_type.oid */
#define INT8OID   ((Oid)20)
#define FLOAT8OID ((Oid)701)

/* $3 is an int8, as all our integers; a subscript is an int4, so the statements cast it. */
static const Oid parameter_types[] = {FLOAT8OID, INT8OID, INT8OID};

struct queries queries_make(double latency_ms)
{
    bool slow = latency_ms > 0;
    return (struct queries){
        .latency_s = latency_ms / 1000,
        .feed_list = {"feed_list",
                      slow ? FEED_LIST(ROUND_TRIP, FROM_ROUND_TRIP) : FEED_LIST("", FROM_NOTHING),
                      3, parameter_types},
        .video = {"video", slow ? VIDEO(ROUND_TRIP, FROM_ROUND_TRIP) : VIDEO("", FROM_NOTHING), 2,
                  parameter_types},
        .feed = {"feed", slow ? FEED(ROUND_TRIP, FROM_ROUND_TRIP) : FEED("", FROM_NOTHING), 3,
                 parameter_types},
    };
}

bool queries_feed_list(const struct queries *queries, struct db_conn *conn, int64_t feed_id,
                       unsigned items, int64_t deadline_ns, struct id_list *list,
                       struct failure *failure)
{
    struct db_value parameters[] = {db_value_float8(queries->latency_s), db_value_int8(feed_id),
                                    db_value_int8(items)};
    PGresult *result;
    *list = (struct id_list){0};
    assert(items > 0);
    if (!db_conn_query(conn, &queries->feed_list, parameters, deadline_ns, &result, failure))
        return false;
    bool ok = decode_feed_list(result, feed_id, items, list, failure);
    PQclear(result);
    return ok;
}

bool queries_video(const struct queries *queries, struct db_conn *conn, int64_t video_id,
                   int64_t deadline_ns, struct video *video, struct failure *failure)
{
    struct db_value parameters[] = {db_value_float8(queries->latency_s), db_value_int8(video_id)};
    PGresult *result;
    if (!db_conn_query(conn, &queries->video, parameters, deadline_ns, &result, failure))
        return false;
    bool ok = decode_video(result, video_id, video, failure);
    PQclear(result);
    return ok;
}

struct pipelined_videos {
    const struct queries *queries;
    const struct id_list *list;
    video_visit *visit;
    void *context;
};

/* A pipeline is one round trip, so only its first statement has the latency. */
static void write_parameters(void *context, unsigned index, struct db_value *parameters)
{
    const struct pipelined_videos *videos = context;
    assert(index < videos->list->count);
    parameters[0] = db_value_float8(index == 0 ? videos->queries->latency_s : 0);
    parameters[1] = db_value_int8(videos->list->ids[index]);
}

static bool take_video(void *context, unsigned index, const PGresult *result,
                       struct failure *failure)
{
    const struct pipelined_videos *videos = context;
    struct video video;
    if (!decode_video(result, videos->list->ids[index], &video, failure))
        return false;
    return videos->visit(videos->context, &video) ||
           failure_set(failure, FAILURE_LIMIT, "out of memory");
}

bool queries_videos(const struct queries *queries, struct db_conn *conn, const struct id_list *list,
                    int64_t deadline_ns, video_visit *visit, void *context, struct failure *failure)
{
    struct pipelined_videos videos = {
        .queries = queries, .list = list, .visit = visit, .context = context};
    const struct db_pipeline pipeline = {.statement = &queries->video,
                                         .count = list->count,
                                         .write_parameters = write_parameters,
                                         .take = take_video,
                                         .context = &videos};
    return db_conn_pipeline(conn, &pipeline, deadline_ns, failure);
}

/* The list says what is wrong: a second round trip, for an answer that is an error. `result`: what
 * there was of the videos, or NULL. */
static void explain(const struct queries *queries, struct db_conn *conn, int64_t feed_id,
                    unsigned items, int64_t deadline_ns, const PGresult *result,
                    struct failure *failure)
{
    struct id_list list;
    struct failure of_list = {0};
    if (!queries_feed_list(queries, conn, feed_id, items, deadline_ns, &list, &of_list))
        *failure = of_list;
    else if (result)
        decode_missing(result, feed_id, &list, failure);
    free(list.ids);
}

bool queries_feed(const struct queries *queries, struct db_conn *conn, int64_t feed_id,
                  unsigned items, int64_t deadline_ns, video_visit *visit, void *context,
                  struct failure *failure)
{
    struct db_value parameters[] = {db_value_float8(queries->latency_s), db_value_int8(feed_id),
                                    db_value_int8(items)};
    PGresult *result;
    if (!db_conn_query(conn, &queries->feed, parameters, deadline_ns, &result, failure)) {
        if (db_failure_is_about_schema(failure)) /* perhaps the list's type has no such operator */
            explain(queries, conn, feed_id, items, deadline_ns, NULL, failure);
        return false;
    }
    bool ok = decode_feed(result, items, visit, context, failure);
    if (!ok && failure->kind == FAILURE_INCOMPLETE)
        explain(queries, conn, feed_id, items, deadline_ns, result, failure);
    PQclear(result);
    return ok;
}
