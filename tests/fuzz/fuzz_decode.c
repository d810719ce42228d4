/*
 * The decoder of the database's rows. What it accepts is held against a reading of the same cells
 * that is written here, so that a wrong value is found as well as a read beyond a cell.
 *
 * Input: a byte for the decoder (feed_list, video, feed), one for the items, one for the columns,
 * for each column a byte for its type, one for the rows; then for each cell a byte for its size
 * (255: NULL) and its bytes.
 */
#include "service/db/decode.h"

#include "tests/fuzz/input.h"

#include <stdlib.h>

enum { FEED_LIST, VIDEO, FEED, DECODERS };
enum { MAX_COLUMNS = 8, MAX_ROWS = 16, FEED_ID = 42, VIDEO_COLUMNS = 4 };

static int64_t number_at(const PGresult *result, int row, int column)
{
    uint64_t number = 0;
    assert(PQftype(result, column) == 20 && PQfformat(result, column) == 1);
    assert(!PQgetisnull(result, row, column) && PQgetlength(result, row, column) == 8);
    for (int i = 0; i < 8; i++)
        number = number << 8 | (unsigned char)PQgetvalue(result, row, column)[i];
    return (int64_t)number;
}

static void check_video(const PGresult *result, int row, const struct video *video)
{
    int first = PQnfields(result) - VIDEO_COLUMNS;
    int title = PQnfields(result) - 1;
    assert(video->id == number_at(result, row, first));
    assert(video->views == number_at(result, row, first + 1));
    assert(video->likes == number_at(result, row, first + 2));
    assert(PQftype(result, title) == 25 || PQftype(result, title) == 1043);
    assert((size_t)PQgetlength(result, row, title) == strlen(video->title));
    assert(memcmp(PQgetvalue(result, row, title), video->title, strlen(video->title)) == 0);
}

struct visits {
    const PGresult *result;
    int count;
};

static bool visit(void *context, const struct video *video)
{
    struct visits *visits = context;
    assert(video->id == number_at(visits->result, visits->count, 0));
    check_video(visits->result, visits->count++, video);
    return true;
}

static void decode_as_list(const PGresult *result, unsigned items, struct failure *failure)
{
    struct id_list list;
    bool ok = decode_feed_list(result, FEED_ID, items, &list, failure);
    assert(ok ? list.count == items && PQntuples(result) == (int)items : !list.ids && !list.count);
    for (unsigned i = 0; i < list.count; i++) {
        assert(list.ids[i] == number_at(result, (int)i, 0));
        for (unsigned j = 0; j < i; j++)
            assert(list.ids[i] != list.ids[j]);
    }
    free(list.ids);
}

static void decode_as_video(const PGresult *result, unsigned video_id, struct failure *failure)
{
    struct video video;
    if (!decode_video(result, video_id, &video, failure))
        return;
    assert(PQntuples(result) == 1 && video.id == video_id);
    check_video(result, 0, &video);
}

static void decode_as_feed(const PGresult *result, unsigned items, struct failure *failure)
{
    struct visits visits = {.result = result};
    bool ok = decode_feed(result, items, visit, &visits, failure);
    assert(!ok || (visits.count == (int)items && PQntuples(result) == (int)items));
    for (int i = 0; ok && i < (int)items; i++)
        for (int j = 0; j < i; j++)
            assert(number_at(result, i, 0) != number_at(result, j, 0));
    if (!ok && failure->kind == FAILURE_INCOMPLETE) {
        int64_t ids[MAX_ROWS + 1];
        for (unsigned i = 0; i < items; i++)
            ids[i] = i;
        const struct id_list list = {ids, items};
        decode_missing(result, FEED_ID, &list, failure);
        assert(failure->kind == FAILURE_DATABASE);
    }
}

static PGresult *read_result(struct fuzz_input *input)
{
    static const Oid types[] = {20, 20, 25, 1043, 17, 23, 701, 1700};
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[MAX_COLUMNS] = {0};
    static char name[] = "column"; /* which libpq copies, and takes as no constant */
    int column_count = (int)(fuzz_byte(input) % (MAX_COLUMNS + 1));
    assert(result);
    for (int i = 0; i < column_count; i++) {
        unsigned type = fuzz_byte(input);
        columns[i].name = name;
        columns[i].typid = types[type % 8];
        columns[i].format = type / 8 % 8 == 7 ? 0 : 1;
    }
    if (column_count > 0)
        assert(PQsetResultAttrs(result, column_count, columns));
    int row_count = column_count > 0 ? (int)(fuzz_byte(input) % (MAX_ROWS + 1)) : 0;
    for (int i = 0; i < row_count * column_count; i++) {
        char cell[254];
        int size = (int)fuzz_byte(input);
        for (int at = 0; size < 255 && at < size; at++)
            cell[at] = (char)fuzz_byte(input);
        assert(
            PQsetvalue(result, i / column_count, i % column_count, cell, size == 255 ? -1 : size));
    }
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    struct failure failure = {0};
    unsigned decoder = fuzz_byte(&input) % DECODERS;
    unsigned number = fuzz_byte(&input) % MAX_ROWS + 1;
    PGresult *result = read_result(&input);
    if (decoder == FEED_LIST)
        decode_as_list(result, number, &failure);
    else if (decoder == VIDEO)
        decode_as_video(result, number, &failure);
    else
        decode_as_feed(result, number, &failure);
    assert(failure.kind == FAILURE_NONE || strlen(failure.message) > 0);
    PQclear(result);
    return 0;
}
