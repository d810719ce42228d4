/* What becomes of a result of the database: values where all fits, and where it does not a failure
 * that names the column, whatever a server or a change of the schema puts there. */
#include "service/db/decode.h"

#include "tests/support/support.h"

#include <stdlib.h>

/* pg_type.oid */
enum { BYTEA = 17, INT8 = 20, INT4 = 23, TEXT = 25, FLOAT8 = 701, VARCHAR = 1043, NUMERIC = 1700 };

/* The columns of feed_list, and those of feed and video. */
enum { ID, POSITION, VIDEO, VIEWS, LIKES, TITLE, COLUMNS };
enum { LIST_COLUMNS = VIDEO, VIDEO_COLUMNS = COLUMNS - VIDEO };
static const Oid right_types[COLUMNS] = {INT8, INT8, INT8, INT8, INT8, TEXT};

struct cell {
    const char *bytes;
    int size; /* -1: NULL */
};
#define NUMBER(byte)                                                                               \
    {                                                                                              \
        "\0\0\0\0\0\0\0" byte, 8                                                                   \
    }
#define NULL_CELL ((struct cell){"", -1})

/* The first row's title is the longest that fits. */
static const struct cell right_cells[2][COLUMNS] = {
    {NUMBER("\5"),
     NUMBER("\1"),
     NUMBER("\5"),
     NUMBER("\6"),
     NUMBER("\7"),
     {"1234567890123456789012345678901", 31}},
    {NUMBER("\4"),
     NUMBER("\2"),
     NUMBER("\4"),
     {"\xff\xff\xff\xff\xff\xff\xff\xff", 8},
     NUMBER("\0"),
     {"\xc3\xa9t\xc3\xa9", 5}},
};

/* A result that a test changes before it is decoded. */
struct answer {
    Oid types[COLUMNS];
    struct cell cells[2][COLUMNS];
    int rows, first, columns, format;
};

static struct answer right_answer(int first, int columns)
{
    struct answer answer = {.rows = 2, .first = first, .columns = columns, .format = 1};
    memcpy(answer.types, right_types, sizeof right_types);
    memcpy(answer.cells, right_cells, sizeof right_cells);
    return answer;
}

static PGresult *make_result(const struct answer *answer)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[COLUMNS] = {0};
    static char name[] = "column"; /* which libpq copies, and takes as no constant */
    assert_non_null(result);
    for (int i = 0; i < answer->columns; i++) {
        columns[i].name = name;
        columns[i].format = answer->format;
        columns[i].typid = answer->types[answer->first + i];
    }
    assert_true(PQsetResultAttrs(result, answer->columns, columns));
    for (int row = 0; row < answer->rows; row++)
        for (int i = 0; i < answer->columns; i++) {
            struct cell cell = answer->cells[row][answer->first + i];
            char bytes[64];
            memcpy(bytes, cell.bytes, cell.size > 0 ? (size_t)cell.size : 0);
            assert_true(PQsetvalue(result, row, i, bytes, cell.size));
        }
    return result;
}

struct visits {
    struct video videos[2];
    unsigned count, room;
};

static bool visit(void *context, const struct video *video)
{
    struct visits *visits = context;
    if (visits->count == visits->room)
        return false;
    visits->videos[visits->count++] = *video;
    return true;
}

static bool feed(const struct answer *answer, unsigned items, struct visits *visits,
                 struct failure *failure)
{
    struct answer part = *answer;
    part.first = VIDEO;
    part.columns = answer->columns < VIDEO_COLUMNS ? answer->columns : VIDEO_COLUMNS;
    PGresult *result = make_result(&part);
    *visits = (struct visits){.room = 2};
    bool ok = decode_feed(result, items, visit, visits, failure);
    PQclear(result);
    return ok;
}

static bool feed_list(const struct answer *answer, unsigned items, struct id_list *list,
                      struct failure *failure)
{
    PGresult *result = make_result(answer);
    bool ok = decode_feed_list(result, 42, items, list, failure);
    PQclear(result);
    assert_true(ok || (!list->ids && list->count == 0));
    return ok;
}

static bool video(const struct answer *answer, struct video *out, struct failure *failure)
{
    PGresult *result = make_result(answer);
    bool ok = decode_video(result, 5, out, failure);
    PQclear(result);
    return ok;
}

static void assert_failed(bool ok, const struct failure *failure, enum failure_kind kind,
                          const char *message)
{
    assert_false(ok);
    assert_int_equal(failure->kind, kind);
    assert_string_equal(failure->message, message);
}

/* Every decoder that reads the column fails with the same words. */
static void assert_all_fail(const struct answer *answer, int column, const char *message)
{
    struct failure failure = {0};
    struct visits visits;
    struct answer part = *answer;
    if (column <= POSITION) {
        struct id_list list;
        part.columns = LIST_COLUMNS;
        assert_failed(feed_list(&part, 2, &list, &failure), &failure, FAILURE_DATABASE, message);
    } else {
        struct video one;
        assert_failed(feed(answer, 2, &visits, &failure), &failure, FAILURE_DATABASE, message);
        part.first = VIDEO;
        part.columns = VIDEO_COLUMNS;
        part.rows = 1;
        assert_failed(video(&part, &one, &failure), &failure, FAILURE_DATABASE, message);
    }
}

static void test_right_rows_are_read(void **state)
{
    struct answer answer = right_answer(ID, COLUMNS);
    struct failure failure;
    struct visits visits;
    struct id_list list;
    struct video one;
    (void)state;
    assert_true(feed(&answer, 2, &visits, &failure));
    assert_int_equal(visits.count, 2);
    assert_int_equal(visits.videos[0].id, 5);
    assert_int_equal(visits.videos[0].views, 6);
    assert_int_equal(visits.videos[0].likes, 7);
    assert_string_equal(visits.videos[0].title, "1234567890123456789012345678901");
    assert_true(visits.videos[1].views == -1);
    assert_string_equal(visits.videos[1].title, "\xc3\xa9t\xc3\xa9");
    answer.types[TITLE] = VARCHAR;
    assert_true(feed(&answer, 2, &visits, &failure));
    answer = right_answer(ID, LIST_COLUMNS);
    assert_true(feed_list(&answer, 2, &list, &failure));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.ids[0], 5);
    assert_int_equal(list.ids[1], 4);
    free(list.ids);
    answer = right_answer(VIDEO, 4);
    answer.rows = 1;
    assert_true(video(&answer, &one, &failure));
    assert_int_equal(one.id, 5);
}

static void test_a_column_of_another_type_is_named(void **state)
{
    static const char *const names[] = {"feed.video_ids", "position",    "video.id",
                                        "video.views",    "video.likes", "video.title"};
    static const Oid types[] = {BYTEA, INT4, FLOAT8, NUMERIC, INT8, TEXT, VARCHAR, 0};
    (void)state;
    for (int column = 0; column < COLUMNS; column++)
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
            struct answer answer = right_answer(ID, COLUMNS);
            char message[120];
            bool fits =
                column == TITLE ? types[i] == TEXT || types[i] == VARCHAR : types[i] == INT8;
            snprintf(message, sizeof message,
                     "column %s has the wrong type: oid %u instead of %d (%s)", names[column],
                     types[i], column == TITLE ? TEXT : INT8, column == TITLE ? "text" : "int8");
            answer.types[column] = types[i];
            if (!fits)
                assert_all_fail(&answer, column, message);
        }
}

static void test_values_in_text_are_refused(void **state)
{
    struct answer answer = right_answer(ID, COLUMNS);
    (void)state;
    answer.format = 0;
    struct failure failure;
    struct visits visits;
    assert_false(feed(&answer, 2, &visits, &failure));
    assert_int_equal(failure.kind, FAILURE_DATABASE);
}

static void test_a_null_is_named(void **state)
{
    static const struct {
        int column;
        const char *message;
    } cases[] = {{ID, "column feed.video_ids holds NULL"},
                 {VIEWS, "column video.views holds NULL"},
                 {LIKES, "column video.likes holds NULL"},
                 {TITLE, "column video.title holds NULL"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer answer = right_answer(ID, COLUMNS);
        answer.cells[0][cases[i].column] = NULL_CELL;
        assert_all_fail(&answer, cases[i].column, cases[i].message);
    }
}

static void test_a_number_of_another_length_is_named(void **state)
{
    static const int sizes[] = {0, 1, 4, 7, 9, 16};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct answer answer = right_answer(ID, COLUMNS);
        char message[120];
        answer.cells[0][VIEWS] = (struct cell){"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", sizes[i]};
        snprintf(message, sizeof message, "column video.views holds %d bytes instead of 8",
                 sizes[i]);
        assert_all_fail(&answer, VIEWS, message);
        answer = right_answer(ID, COLUMNS);
        answer.cells[0][ID] = (struct cell){"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", sizes[i]};
        snprintf(message, sizeof message, "column feed.video_ids holds %d bytes instead of 8",
                 sizes[i]);
        assert_all_fail(&answer, ID, message);
    }
}

static void test_a_title_that_is_no_text_is_refused(void **state)
{
    static const struct cell titles[] = {{"\xff", 1}, {"a\xc3", 2}, {"a\0b", 3}, {"\0", 1}};
    struct answer answer = right_answer(ID, COLUMNS);
    (void)state;
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        answer.cells[0][TITLE] = titles[i];
        assert_all_fail(&answer, TITLE, "column video.title holds what is not text in UTF-8");
    }
    answer.cells[0][TITLE] = (struct cell){"12345678901234567890123456789012", 32};
    assert_all_fail(&answer, TITLE, "column video.title holds more than 31 bytes");
}

static void test_another_number_of_columns_is_refused(void **state)
{
    struct answer answer = right_answer(ID, VIDEO_COLUMNS - 1);
    struct failure failure;
    struct visits visits;
    struct id_list list;
    struct video one;
    (void)state;
    assert_failed(feed(&answer, 2, &visits, &failure), &failure, FAILURE_DATABASE,
                  "the answer has 3 columns instead of 4");
    assert_false(feed_list(&answer, 2, &list, &failure));
    assert_false(video(&answer, &one, &failure));
    answer.columns = 0;
    assert_false(feed(&answer, 2, &visits, &failure));
    assert_false(feed_list(&answer, 2, &list, &failure));
    assert_false(video(&answer, &one, &failure));
}

static void assert_list_fails(const struct answer *answer, unsigned items, enum failure_kind kind,
                              const char *message)
{
    struct failure failure;
    struct id_list list;
    struct answer part = *answer;
    part.columns = LIST_COLUMNS;
    assert_failed(feed_list(&part, items, &list, &failure), &failure, kind, message);
}

static void test_a_list_that_does_not_fit(void **state)
{
    struct answer answer = right_answer(ID, COLUMNS);
    (void)state;
    assert_list_fails(&answer, 3, FAILURE_DATABASE,
                      "feed 42: the database has only 2 of its first 3 items");
    assert_list_fails(&answer, 1, FAILURE_DATABASE, "feed 42: the database has 2 rows for 1 items");
    answer.rows = 0;
    assert_list_fails(&answer, 1, FAILURE_NOT_FOUND, "there is no feed 42");
    answer.rows = 1;
    answer.cells[0][ID] = answer.cells[0][POSITION] = NULL_CELL;
    assert_list_fails(&answer, 1, FAILURE_DATABASE,
                      "feed 42: the database has only 0 of its first 1 items");
    answer = right_answer(ID, COLUMNS);
    memcpy(answer.cells[1], answer.cells[0], sizeof answer.cells[1]);
    assert_list_fails(&answer, 2, FAILURE_DATABASE,
                      "column feed.video_ids holds video 5 twice in feed 42");
}

/* A feed's rows say that they are not what was asked for, and its list then says why. */
static void assert_incomplete(const struct answer *answer, unsigned items, int64_t first_id,
                              int64_t second_id, const char *message)
{
    int64_t ids[] = {first_id, second_id};
    const struct id_list list = {ids, 2};
    struct answer part = *answer;
    struct failure failure;
    struct visits visits;
    assert_false(feed(answer, items, &visits, &failure));
    assert_int_equal(failure.kind, FAILURE_INCOMPLETE);
    part.first = VIDEO;
    part.columns = VIDEO_COLUMNS;
    PGresult *result = make_result(&part);
    decode_missing(result, 42, &list, &failure);
    assert_failed(false, &failure, FAILURE_DATABASE, message);
    PQclear(result);
}

static void test_a_feed_that_is_not_whole(void **state)
{
    struct answer answer = right_answer(ID, COLUMNS);
    (void)state;
    answer.rows = 1;
    assert_incomplete(&answer, 2, 5, 4, "there is no video 4");
    assert_incomplete(&answer, 2, 3, 5, "there is no video 3");
    answer.rows = 0;
    assert_incomplete(&answer, 2, 5, 4, "there is no video 5");
    answer = right_answer(ID, COLUMNS);
    assert_incomplete(&answer, 3, 5, 4, "feed 42: the database has 2 rows for 2 items");
    memcpy(answer.cells[1], answer.cells[0], sizeof answer.cells[1]);
    assert_incomplete(&answer, 2, 5, 4, "the database has video 5 2 times");
    assert_incomplete(&answer, 1, 5, 4, "the database has video 5 2 times");
}

static void test_a_video_that_is_not_there(void **state)
{
    struct answer answer = right_answer(VIDEO, VIDEO_COLUMNS);
    struct failure failure;
    struct video one;
    (void)state;
    assert_failed(video(&answer, &one, &failure), &failure, FAILURE_DATABASE,
                  "the database has video 5 2 times");
    answer.rows = 0;
    assert_failed(video(&answer, &one, &failure), &failure, FAILURE_DATABASE,
                  "there is no video 5");
    answer.rows = 1;
    answer.cells[0][VIDEO] = (struct cell)NUMBER("\6");
    assert_failed(video(&answer, &one, &failure), &failure, FAILURE_DATABASE,
                  "video 6 was sent instead of 5");
}

static void test_a_visit_without_memory_ends_the_feed(void **state)
{
    struct answer answer = right_answer(VIDEO, VIDEO_COLUMNS);
    PGresult *result = make_result(&answer);
    struct visits visits = {.room = 1};
    struct failure failure;
    (void)state;
    bool ok = decode_feed(result, 2, visit, &visits, &failure);
    assert_failed(ok, &failure, FAILURE_LIMIT, "out of memory");
    PQclear(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_rows_are_read),
        cmocka_unit_test(test_a_column_of_another_type_is_named),
        cmocka_unit_test(test_values_in_text_are_refused),
        cmocka_unit_test(test_a_null_is_named),
        cmocka_unit_test(test_a_number_of_another_length_is_named),
        cmocka_unit_test(test_a_title_that_is_no_text_is_refused),
        cmocka_unit_test(test_another_number_of_columns_is_refused),
        cmocka_unit_test(test_a_list_that_does_not_fit),
        cmocka_unit_test(test_a_feed_that_is_not_whole),
        cmocka_unit_test(test_a_video_that_is_not_there),
        cmocka_unit_test(test_a_visit_without_memory_ends_the_feed),
    };
    return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
