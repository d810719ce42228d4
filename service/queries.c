#include "service/queries.h"

#include "common/check.h"

#include <endian.h>

/* The round trip's cost: a materialized CTE that the query reads runs once per statement, batched
 * or not. In the select list it would run once per row; unreferenced, not at all. $1 is in every
 * variant, so that the calls are the same. */
#define ROUND_TRIP      "WITH rtt AS MATERIALIZED (SELECT pg_sleep($1)) "
#define FROM_ROUND_TRIP " FROM rtt, "
#define FROM_NOTHING    " FROM "

#define FEED_LIST(with, from)                                                                      \
    with "SELECT ids.id" from                                                                      \
         "feed f, unnest(f.video_ids[1:$3::int]) WITH ORDINALITY AS ids(id, position) "            \
         "WHERE f.id = $2 ORDER BY ids.position"
#define VIDEO(with, from)                                                                          \
    with "SELECT v.id, v.views, v.likes, v.title" from "video v WHERE v.id = $2"
#define FEED(with, from)                                                                           \
    with "SELECT v.id, v.views, v.likes, v.title" from                                             \
         "feed f JOIN video v ON v.id = ANY (f.video_ids[1:$3::int]) WHERE f.id = $2"

/* pg_type.oid */
#define INT8OID   ((Oid)20)
#define FLOAT8OID ((Oid)701)

/* $3 is an int8 as all our integers are; a subscript is an int4, so it is cast where it is used. */
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

static int64_t read_int8(const PGresult *result, int row, int column)
{
    uint64_t wire;
    assert(PQgetlength(result, row, column) == sizeof wire);
    memcpy(&wire, PQgetvalue(result, row, column), sizeof wire);
    return (int64_t)be64toh(wire);
}

static bool read_video(const PGresult *result, int row, struct video *video,
                       struct failure *failure)
{
    enum { ID, VIEWS, LIKES, TITLE };
    int title_size = PQgetlength(result, row, TITLE);
    video->id = read_int8(result, row, ID);
    video->views = read_int8(result, row, VIEWS);
    video->likes = read_int8(result, row, LIKES);
    if (title_size >= VIDEO_TITLE_SIZE)
        return failure_set(failure, FAILURE_DATABASE,
                           "the title of video %lld is longer than %d bytes", (long long)video->id,
                           VIDEO_TITLE_SIZE - 1);
    memcpy(video->title, PQgetvalue(result, row, TITLE), (size_t)title_size);
    video->title[title_size] = '\0';
    return true;
}

static bool read_one_video(const PGresult *result, int64_t video_id, struct video *video,
                           struct failure *failure)
{
    if (PQntuples(result) != 1)
        return failure_set(failure, FAILURE_DATABASE, "there is no video %lld",
                           (long long)video_id);
    return read_video(result, 0, video, failure);
}

/* A partial answer is an error: all rows, or no feed at all. */
static bool check_rows(unsigned rows, unsigned items, int64_t feed_id, struct failure *failure)
{
    if (rows == items)
        return true;
    if (rows == 0)
        return failure_set(failure, FAILURE_NOT_FOUND, "there is no feed %lld", (long long)feed_id);
    return failure_set(failure, FAILURE_DATABASE,
                       "feed %lld: the database has only %u of its first %u items",
                       (long long)feed_id, rows, items);
}

bool queries_feed_list(const struct queries *queries, struct db_conn *conn, int64_t feed_id,
                       unsigned items, int64_t deadline_ns, struct id_list *list,
                       struct failure *failure)
{
    struct db_value parameters[] = {db_value_float8(queries->latency_s), db_value_int8(feed_id),
                                    db_value_int8(items)};
    PGresult *result;
    *list = (struct id_list){0};
    if (!db_conn_query(conn, &queries->feed_list, parameters, deadline_ns, &result, failure))
        return false;
    unsigned rows = (unsigned)PQntuples(result);
    bool ok = check_rows(rows, items, feed_id, failure);
    list->ids = ok ? calloc(rows, sizeof *list->ids) : NULL;
    if (ok && !list->ids)
        ok = failure_set(failure, FAILURE_LIMIT, "out of memory");
    for (unsigned i = 0; ok && i < rows; i++)
        list->ids[list->count++] = read_int8(result, (int)i, 0);
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
    bool ok = read_one_video(result, video_id, video, failure);
    PQclear(result);
    return ok;
}

struct pipelined_videos {
    const struct queries *queries;
    const struct id_list *list;
    bool (*visit)(void *context, const struct video *video);
    void *context;
};

/* A pipeline is one round trip, whose cost the server spends in one of its statements: the first.
 */
static void write_parameters(void *context, unsigned index, struct db_value *parameters)
{
    const struct pipelined_videos *videos = context;
    parameters[0] = db_value_float8(index == 0 ? videos->queries->latency_s : 0);
    parameters[1] = db_value_int8(videos->list->ids[index]);
}

static bool take_video(void *context, unsigned index, const PGresult *result,
                       struct failure *failure)
{
    const struct pipelined_videos *videos = context;
    struct video video;
    if (!read_one_video(result, videos->list->ids[index], &video, failure))
        return false;
    return videos->visit(videos->context, &video) ||
           failure_set(failure, FAILURE_LIMIT, "out of memory");
}

bool queries_videos(const struct queries *queries, struct db_conn *conn, const struct id_list *list,
                    int64_t deadline_ns, bool (*visit)(void *context, const struct video *video),
                    void *context, struct failure *failure)
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

bool queries_feed(const struct queries *queries, struct db_conn *conn, int64_t feed_id,
                  unsigned items, int64_t deadline_ns,
                  bool (*visit)(void *context, const struct video *video), void *context,
                  struct failure *failure)
{
    struct db_value parameters[] = {db_value_float8(queries->latency_s), db_value_int8(feed_id),
                                    db_value_int8(items)};
    PGresult *result;
    struct video video;
    if (!db_conn_query(conn, &queries->feed, parameters, deadline_ns, &result, failure))
        return false;
    unsigned rows = (unsigned)PQntuples(result);
    bool ok = check_rows(rows, items, feed_id, failure);
    for (unsigned i = 0; ok && i < rows; i++) {
        ok = read_video(result, (int)i, &video, failure);
        if (ok && !visit(context, &video))
            ok = failure_set(failure, FAILURE_LIMIT, "out of memory");
    }
    PQclear(result);
    return ok;
}
