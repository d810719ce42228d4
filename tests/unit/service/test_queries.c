/* The service's queries: what their rows become, and that a partial or wrong answer is an error.
 * The connection is real. Its server answers from a table. */
#include "service/db/queries.h"

#include "tests/support/fake_backend.h"
#include "tests/support/support.h"

#include <stdlib.h>

/* In PostgreSQL's binary format: the video. The last title is the longest that there is room for.
 */
#define SEVENTH                                                                                    \
    {"\0\0\0\0\0\0\0\7", 8}, {"\0\0\0\0\0\0\1\2", 8}, {"\0\0\0\0\0\0\0\3", 8},                     \
    {                                                                                              \
        "seventh", 7                                                                               \
    }
static const struct fake_cell feed[] = {SEVENTH,
                                        {"\x7f\xff\xff\xff\xff\xff\xff\xff", 8},
                                        {"\0\0\0\1\0\0\0\0", 8},
                                        {"\xff\xff\xff\xff\xff\xff\xff\xff", 8},
                                        {"1234567890123456789012345678901", 31}};
static const struct fake_cell seventh[] = {SEVENTH, SEVENTH};
/* the position behind each id */
static const struct fake_cell ids[] = {{"\0\0\0\0\0\0\0\5", 8}, {"\0\0\0\0\0\0\0\1", 8},
                                       {"\0\0\0\0\0\0\0\2", 8}, {"\0\0\0\0\0\0\0\2", 8},
                                       {"\0\0\0\0\0\0\1\0", 8}, {"\0\0\0\0\0\0\0\3", 8}};
static const unsigned list_types[] = {20, 20};
static const unsigned video_types[] = {20, 20, 20, 25};

#define FEED(n)                                                                                    \
    {                                                                                              \
        .statement = "JOIN video", .cells = feed, .rows = (n), .columns = 4, .types = video_types  \
    }
#define VIDEO(n)                                                                                   \
    {                                                                                              \
        .statement = "video v WHERE", .cells = seventh, .rows = (n), .columns = 4,                 \
        .types = video_types                                                                       \
    }
#define LIST(n)                                                                                    \
    {                                                                                              \
        .statement = "ORDER BY ids", .cells = ids, .rows = (n), .columns = 2, .types = list_types  \
    }
static const struct fake_answer two_videos[] = {FEED(2), {0}};
static const struct fake_answer two_videos_of_three[] = {FEED(2), LIST(3), {0}};
static const struct fake_answer one_video[] = {VIDEO(1), {0}};
static const struct fake_answer twice_a_video[] = {VIDEO(2), {0}};
static const struct fake_answer three_ids[] = {LIST(3), {0}};
static const struct fake_answer nothing[] = {FEED(0), VIDEO(0), LIST(0), {0}};

static struct fake_backend backend;
static struct queries queries;
static struct db_statement statements[3];
static struct db_conn *conn;

static int64_t in_time(void)
{
    return clock_now_ns() + TEST_PATIENCE_NS;
}

static int connect_to_backend(void **state)
{
    static struct db_conn_config config;
    struct failure failure;
    (void)state;
    fake_backend_open(&backend, nothing);
    queries = queries_make(0);
    statements[0] = queries.feed_list;
    statements[1] = queries.video;
    statements[2] = queries.feed;
    config = (struct db_conn_config){
        .conninfo = backend.conninfo, .statements = statements, .statement_count = 3};
    conn = db_conn_open(&config, in_time(), -1, &failure);
    return conn ? 0 : -1;
}

static int disconnect(void **state)
{
    (void)state;
    db_conn_close(conn);
    fake_backend_close(&backend);
    return 0;
}

/* The videos that a query hands out, at most two. */
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

static bool fetch_feed(unsigned items, struct visits *visits, struct failure *failure)
{
    return queries_feed(&queries, conn, 42, items, in_time(), visit, visits, failure);
}

static void assert_both_videos(const struct visits *visits)
{
    assert_int_equal(visits->count, 2);
    assert_int_equal(visits->videos[0].id, 7);
    assert_int_equal(visits->videos[0].views, 0x102);
    assert_int_equal(visits->videos[0].likes, 3);
    assert_string_equal(visits->videos[0].title, "seventh");
    assert_true(visits->videos[1].id == INT64_MAX);
    assert_true(visits->videos[1].views == INT64_C(1) << 32);
    assert_true(visits->videos[1].likes == -1);
    assert_string_equal(visits->videos[1].title, "1234567890123456789012345678901");
}

/* Without latency no statement sleeps. With it each statement sleeps once, in a part it reads. */
static void test_latency_is_in_every_statement_or_in_none(void **state)
{
    const struct queries fast = queries_make(0);
    const struct queries slow = queries_make(7.5);
    const struct db_statement *of_fast[] = {&fast.feed_list, &fast.video, &fast.feed};
    const struct db_statement *of_slow[] = {&slow.feed_list, &slow.video, &slow.feed};
    (void)state;
    assert_true(fast.latency_s == 0 && slow.latency_s == 0.0075);
    for (int i = 0; i < 3; i++) {
        assert_null(strstr(of_fast[i]->sql, "pg_sleep"));
        assert_non_null(strstr(of_slow[i]->sql, "MATERIALIZED (SELECT pg_sleep($1))"));
        assert_non_null(strstr(of_slow[i]->sql, " FROM rtt, "));
        assert_string_equal(of_fast[i]->name, of_slow[i]->name);
        assert_int_equal(of_fast[i]->parameter_count, of_slow[i]->parameter_count);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(of_fast[i]->name, of_fast[j]->name);
        bool has_third = strstr(of_fast[i]->sql, "$3") != NULL;
        assert_int_equal(of_fast[i]->parameter_count, has_third ? 3 : 2);
    }
}

static void test_a_feeds_videos_are_read(void **state)
{
    struct visits visits = {.room = 2};
    struct failure failure;
    (void)state;
    atomic_store(&backend.answers, two_videos);
    assert_true(fetch_feed(2, &visits, &failure));
    assert_both_videos(&visits);
}

static void test_a_feeds_ids_keep_their_order(void **state)
{
    struct id_list list;
    struct failure failure;
    (void)state;
    atomic_store(&backend.answers, three_ids);
    assert_true(queries_feed_list(&queries, conn, 42, 3, in_time(), &list, &failure));
    assert_int_equal(list.count, 3);
    assert_int_equal(list.ids[0], 5);
    assert_int_equal(list.ids[1], 2);
    assert_int_equal(list.ids[2], 256);
    free(list.ids);
}

static void test_no_rows_are_no_feed(void **state)
{
    struct visits visits = {.room = 2};
    struct id_list list;
    struct failure failure;
    (void)state;
    atomic_store(&backend.answers, nothing);
    assert_false(fetch_feed(2, &visits, &failure));
    assert_int_equal(failure.kind, FAILURE_NOT_FOUND);
    assert_non_null(strstr(failure.message, "no feed 42"));
    assert_false(queries_feed_list(&queries, conn, 42, 3, in_time(), &list, &failure));
    assert_int_equal(failure.kind, FAILURE_NOT_FOUND);
    assert_null(list.ids);
}

static void test_some_of_the_rows_are_no_answer(void **state)
{
    struct visits visits = {.room = 2};
    struct id_list list;
    struct failure failure;
    (void)state;
    atomic_store(&backend.answers, two_videos_of_three);
    unsigned before = fake_backend_count(&backend, "");
    assert_false(fetch_feed(3, &visits, &failure));
    assert_int_equal(failure.kind, FAILURE_DATABASE);
    assert_non_null(strstr(failure.message, "no video 5")); /* the list has been asked */
    assert_int_equal(fake_backend_count(&backend, "") - before, 2);
    assert_false(fetch_feed(4, &visits, &failure));
    assert_non_null(strstr(failure.message, "only 3 of its first 4 items"));
    assert_int_equal(visits.count, 0);
    atomic_store(&backend.answers, three_ids);
    assert_false(queries_feed_list(&queries, conn, 42, 4, in_time(), &list, &failure));
    assert_int_equal(failure.kind, FAILURE_DATABASE);
    assert_null(list.ids);
    assert_int_equal(list.count, 0);
}

static void test_a_visit_without_memory_ends_the_query(void **state)
{
    struct visits visits = {.room = 1};
    struct failure failure;
    (void)state;
    atomic_store(&backend.answers, two_videos);
    assert_false(fetch_feed(2, &visits, &failure));
    assert_int_equal(failure.kind, FAILURE_LIMIT);
    visits = (struct visits){.room = 2}; /* the connection still works */
    assert_true(fetch_feed(2, &visits, &failure));
}

static void test_one_video(void **state)
{
    struct video video;
    struct failure failure;
    (void)state;
    atomic_store(&backend.answers, one_video);
    assert_true(queries_video(&queries, conn, 7, in_time(), &video, &failure));
    assert_int_equal(video.id, 7);
    assert_string_equal(video.title, "seventh");
    atomic_store(&backend.answers, nothing);
    assert_false(queries_video(&queries, conn, 8, in_time(), &video, &failure));
    assert_int_equal(failure.kind, FAILURE_DATABASE);
    assert_non_null(strstr(failure.message, "no video 8"));
    atomic_store(&backend.answers, twice_a_video);
    assert_false(queries_video(&queries, conn, 7, in_time(), &video, &failure));
}

/* One statement for each id, and one visit for each row. */
static void test_a_pipeline_of_videos(void **state)
{
    int64_t wanted[] = {7, 7};
    const struct id_list list = {.ids = wanted, .count = 2};
    struct visits visits = {.room = 2};
    struct failure failure = {0};
    (void)state;
    atomic_store(&backend.answers, one_video);
    unsigned before = fake_backend_count(&backend, "v.id");
    assert_true(queries_videos(&queries, conn, &list, in_time(), visit, &visits, &failure));
    assert_int_equal(fake_backend_count(&backend, "v.id") - before, 2);
    assert_int_equal(visits.count, 2);
    visits = (struct visits){.room = 1};
    assert_false(queries_videos(&queries, conn, &list, in_time(), visit, &visits, &failure));
    assert_int_equal(failure.kind, FAILURE_LIMIT);
    atomic_store(&backend.answers, nothing);
    assert_false(queries_videos(&queries, conn, &list, in_time(), visit, &visits, &failure));
    assert_int_equal(failure.kind, FAILURE_DATABASE);
    assert_non_null(strstr(failure.message, "no video 7"));
}

static void test_the_servers_error_is_told(void **state)
{
    static const struct fake_answer refused[] = {
        {.statement = "feed", .reaction = FAKE_ERROR, .sqlstate = "57014"}, {0}};
    struct visits visits = {.room = 2};
    struct failure failure;
    (void)state;
    atomic_store(&backend.answers, refused);
    assert_false(fetch_feed(2, &visits, &failure));
    assert_int_equal(failure.kind, FAILURE_DATABASE);
    assert_string_equal(failure.sqlstate, "57014");
    assert_string_equal(failure.message, "57014 the server refuses");
}

static void test_after_the_deadline_nothing_is_sent(void **state)
{
    struct visits visits = {.room = 2};
    struct failure failure;
    (void)state;
    unsigned before = fake_backend_count(&backend, "");
    assert_false(queries_feed(&queries, conn, 42, 2, clock_now_ns(), visit, &visits, &failure));
    assert_int_equal(failure.kind, FAILURE_WRITE_DEADLINE);
    atomic_store(&backend.answers, two_videos);
    assert_true(fetch_feed(2, &visits, &failure)); /* the connection still works */
    assert_int_equal(fake_backend_count(&backend, "") - before, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latency_is_in_every_statement_or_in_none),
        cmocka_unit_test(test_a_feeds_videos_are_read),
        cmocka_unit_test(test_a_feeds_ids_keep_their_order),
        cmocka_unit_test(test_no_rows_are_no_feed),
        cmocka_unit_test(test_some_of_the_rows_are_no_answer),
        cmocka_unit_test(test_a_visit_without_memory_ends_the_query),
        cmocka_unit_test(test_one_video),
        cmocka_unit_test(test_a_pipeline_of_videos),
        cmocka_unit_test(test_the_servers_error_is_told),
        cmocka_unit_test(test_after_the_deadline_nothing_is_sent),
    };
    return cmocka_run_group_tests_name("queries", tests, connect_to_backend, disconnect);
}
