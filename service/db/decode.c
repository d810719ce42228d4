#include "service/db/decode.h"

#include "common/check.h"
#include "common/text.h"

#include <endian.h>
#include <stdlib.h>

/* pg_type.oid */
#define INT8OID    ((Oid)20)
#define TEXTOID    ((Oid)25)
#define VARCHAROID ((Oid)1043)

/* feed_list has the first two columns, video and feed the last four. queries.c has the statements.
 */
enum column { LIST_ID, LIST_POSITION, VIDEO_ID, VIDEO_VIEWS, VIDEO_LIKES, VIDEO_TITLE, COLUMNS };

static const char *const column_names[COLUMNS] = {
    [LIST_ID] = "feed.video_ids",  [LIST_POSITION] = "position",  [VIDEO_ID] = "video.id",
    [VIDEO_VIEWS] = "video.views", [VIDEO_LIKES] = "video.likes", [VIDEO_TITLE] = "video.title",
};

/* A result whose columns were checked. Its first column is `first`. */
struct rows {
    const PGresult *result;
    enum column first;
    int count;
};

static bool is_right_type(enum column column, Oid type)
{
    /* both kinds of text are their bytes alone */
    return column == VIDEO_TITLE ? type == TEXTOID || type == VARCHAROID : type == INT8OID;
}

/* Checks number and types of the columns. A pooler or an ALTER TABLE can change both. */
static bool open_rows(struct rows *rows, const PGresult *result, enum column first,
                      enum column last, struct failure *failure)
{
    enum { BINARY = 1 };
    int columns = PQnfields(result);
    *rows = (struct rows){result, first, PQntuples(result)};
    if (columns != (int)(last - first) + 1)
        return failure_set(failure, FAILURE_DATABASE, "the answer has %d columns instead of %d",
                           columns, (int)(last - first) + 1);
    for (enum column column = first; column <= last; column++) {
        Oid type = PQftype(result, (int)(column - first));
        if (!is_right_type(column, type) || PQfformat(result, (int)(column - first)) != BINARY)
            return failure_set(failure, FAILURE_DATABASE,
                               "column %s has the wrong type: oid %u instead of %u (%s)",
                               column_names[column], type,
                               column == VIDEO_TITLE ? TEXTOID : INT8OID,
                               column == VIDEO_TITLE ? "text" : "int8");
    }
    return true;
}

static bool is_null(const struct rows *rows, int row, enum column column)
{
    assert(row < rows->count && column >= rows->first);
    return PQgetisnull(rows->result, row, (int)(column - rows->first));
}

/* A value that is there, and its size. */
static const char *read_value(const struct rows *rows, int row, enum column column,
                              size_t *size_bytes, struct failure *failure)
{
    *size_bytes = (size_t)PQgetlength(rows->result, row, (int)(column - rows->first));
    if (*size_bytes == 0 && is_null(rows, row, column)) {
        failure_set(failure, FAILURE_DATABASE, "column %s holds NULL", column_names[column]);
        return NULL;
    }
    return PQgetvalue(rows->result, row, (int)(column - rows->first));
}

static bool read_int8(const struct rows *rows, int row, enum column column, int64_t *value,
                      struct failure *failure)
{
    uint64_t wire;
    size_t size;
    const char *bytes = read_value(rows, row, column, &size, failure);
    if (!bytes)
        return false;
    if (size != sizeof wire)
        return failure_set(failure, FAILURE_DATABASE, "column %s holds %zu bytes instead of %zu",
                           column_names[column], size, sizeof wire);
    memcpy(&wire, bytes, sizeof wire);
    *value = (int64_t)be64toh(wire);
    return true;
}

static bool read_title(const struct rows *rows, int row, char title[VIDEO_TITLE_SIZE],
                       struct failure *failure)
{
    size_t size;
    const char *bytes = read_value(rows, row, VIDEO_TITLE, &size, failure);
    if (!bytes)
        return false;
    if (size >= VIDEO_TITLE_SIZE)
        return failure_set(failure, FAILURE_DATABASE, "column %s holds more than %d bytes",
                           column_names[VIDEO_TITLE], VIDEO_TITLE_SIZE - 1);
    if (memchr(bytes, '\0', size) || !text_is_utf8(bytes, size))
        return failure_set(failure, FAILURE_DATABASE, "column %s holds what is not text in UTF-8",
                           column_names[VIDEO_TITLE]);
    memcpy(title, bytes, size);
    title[size] = '\0';
    return true;
}

static bool read_video(const struct rows *rows, int row, struct video *video,
                       struct failure *failure)
{
    *video = (struct video){0};
    return read_int8(rows, row, VIDEO_ID, &video->id, failure) &&
           read_int8(rows, row, VIDEO_VIEWS, &video->views, failure) &&
           read_int8(rows, row, VIDEO_LIKES, &video->likes, failure) &&
           read_title(rows, row, video->title, failure);
}

static bool no_video(int64_t video_id, struct failure *failure)
{
    return failure_set(failure, FAILURE_DATABASE, "there is no video %lld", (long long)video_id);
}

static bool too_many_videos(int64_t video_id, int count, struct failure *failure)
{
    return failure_set(failure, FAILURE_DATABASE, "the database has video %lld %d times",
                       (long long)video_id, count);
}

/* A partial answer is an error: all rows, or no feed at all. A feed with an empty list is one row
 * without a position. */
static bool check_count(const struct rows *rows, int64_t feed_id, unsigned items,
                        struct failure *failure)
{
    if (rows->count == 0)
        return failure_set(failure, FAILURE_NOT_FOUND, "there is no feed %lld", (long long)feed_id);
    unsigned positions =
        rows->count == 1 && is_null(rows, 0, LIST_POSITION) ? 0 : (unsigned)rows->count;
    if (positions < items)
        return failure_set(failure, FAILURE_DATABASE,
                           "feed %lld: the database has only %u of its first %u items",
                           (long long)feed_id, positions, items);
    return positions == items || failure_set(failure, FAILURE_DATABASE,
                                             "feed %lld: the database has %u rows for %u items",
                                             (long long)feed_id, positions, items);
}

static int by_value(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Sorts them, so that equal ids are neighbours. *twice: one that is there more than once. */
static bool has_twice(int64_t *ids, unsigned count, int64_t *twice)
{
    qsort(ids, count, sizeof *ids, by_value);
    for (unsigned i = 1; i < count; i++)
        if (ids[i] == ids[i - 1]) {
            *twice = ids[i];
            return true;
        }
    return false;
}

static bool check_distinct(const struct id_list *list, int64_t feed_id, struct failure *failure)
{
    int64_t *sorted = malloc(list->count * sizeof *sorted);
    int64_t twice;
    if (!sorted)
        return failure_set(failure, FAILURE_LIMIT, "out of memory");
    memcpy(sorted, list->ids, list->count * sizeof *sorted);
    bool ok = !has_twice(sorted, list->count, &twice);
    if (!ok)
        failure_set(failure, FAILURE_DATABASE, "column %s holds video %lld twice in feed %lld",
                    column_names[LIST_ID], (long long)twice, (long long)feed_id);
    free(sorted);
    return ok;
}

static bool read_list(const struct rows *rows, int64_t feed_id, unsigned items,
                      struct id_list *list, struct failure *failure)
{
    assert(items > 0);
    *list = (struct id_list){0};
    if (!check_count(rows, feed_id, items, failure))
        return false;
    list->ids = calloc(items, sizeof *list->ids);
    if (!list->ids)
        return failure_set(failure, FAILURE_LIMIT, "out of memory");
    bool ok = true;
    for (; ok && list->count < items; list->count += ok)
        ok = read_int8(rows, (int)list->count, LIST_ID, &list->ids[list->count], failure);
    if (ok && check_distinct(list, feed_id, failure))
        return true;
    free(list->ids);
    *list = (struct id_list){0};
    return false;
}

bool decode_feed_list(const PGresult *result, int64_t feed_id, unsigned items, struct id_list *list,
                      struct failure *failure)
{
    struct rows rows;
    *list = (struct id_list){0};
    return open_rows(&rows, result, LIST_ID, LIST_POSITION, failure) &&
           read_list(&rows, feed_id, items, list, failure);
}

bool decode_video(const PGresult *result, int64_t video_id, struct video *video,
                  struct failure *failure)
{
    struct rows rows;
    if (!open_rows(&rows, result, VIDEO_ID, VIDEO_TITLE, failure))
        return false;
    if (rows.count == 0)
        return no_video(video_id, failure);
    if (rows.count > 1)
        return too_many_videos(video_id, rows.count, failure);
    return read_video(&rows, 0, video, failure) &&
           (video->id == video_id ||
            failure_set(failure, FAILURE_DATABASE, "video %lld was sent instead of %lld",
                        (long long)video->id, (long long)video_id));
}

/* How many rows have this id. */
static int count_rows(const struct rows *rows, int64_t id)
{
    int count = 0;
    for (int row = 0; row < rows->count; row++) {
        int64_t found = 0;
        struct failure ignored;
        count += read_int8(rows, row, VIDEO_ID, &found, &ignored) && found == id;
    }
    return count;
}

/* A table without its primary key may have a video twice. For rows that no index put in order. */
static bool check_once_each(const struct rows *rows, struct failure *failure)
{
    int64_t *ids = malloc((size_t)rows->count * sizeof *ids);
    int64_t twice;
    bool ok = true;
    if (!ids)
        return failure_set(failure, FAILURE_LIMIT, "out of memory");
    for (int row = 0; ok && row < rows->count; row++)
        ok = read_int8(rows, row, VIDEO_ID, &ids[row], failure);
    if (ok && has_twice(ids, (unsigned)rows->count, &twice))
        ok =
            failure_set(failure, FAILURE_INCOMPLETE, "video %lld is there twice", (long long)twice);
    free(ids);
    return ok;
}

bool decode_feed(const PGresult *result, unsigned items, video_visit *visit, void *context,
                 struct failure *failure)
{
    struct rows rows;
    struct video video;
    int64_t last_id = INT64_MIN;
    bool ascends = true;
    if (!open_rows(&rows, result, VIDEO_ID, VIDEO_TITLE, failure))
        return false;
    if ((unsigned)rows.count != items)
        return failure_set(failure, FAILURE_INCOMPLETE, "%d rows for %u items", rows.count, items);
    for (int row = 0; row < rows.count; row++) {
        if (!read_video(&rows, row, &video, failure))
            return false;
        ascends = ascends && (row == 0 || video.id > last_id);
        last_id = video.id;
        if (!visit(context, &video))
            return failure_set(failure, FAILURE_LIMIT, "out of memory");
    }
    return ascends || check_once_each(&rows, failure);
}

void decode_missing(const PGresult *result, int64_t feed_id, const struct id_list *list,
                    struct failure *failure)
{
    struct rows rows;
    if (!open_rows(&rows, result, VIDEO_ID, VIDEO_TITLE, failure))
        return;
    for (unsigned i = 0; i < list->count; i++) {
        int count = count_rows(&rows, list->ids[i]);
        if (count == 0)
            (void)no_video(list->ids[i], failure);
        else if (count > 1)
            (void)too_many_videos(list->ids[i], count, failure);
        if (count != 1)
            return;
    }
    /* the database has changed between the two */
    failure_set(failure, FAILURE_DATABASE, "feed %lld: the database has %d rows for %u items",
                (long long)feed_id, rows.count, list->count);
}
