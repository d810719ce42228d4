/* Each allocation fails once, and each call to the network or for a thread, in a request of each
 * variant and in what an operator asks: the answer is right or an error, nothing crashes, nothing
 * is lost. */
#include "tests/support/failing_calls.h"

#include "service/http/pool_json.h"
#include "service/http/service.h"
#include "service/toggles/store.h"
#include "tests/support/fake_backend.h"

#if FAILING_MALLOC

/* Video 7, and its place in the feed, in PostgreSQL's binary format. */
#define SEVEN                                                                                      \
    {                                                                                              \
        "\0\0\0\0\0\0\0\7", 8                                                                      \
    }
#define ONE                                                                                        \
    {                                                                                              \
        "\0\0\0\0\0\0\0\1", 8                                                                      \
    }
static const struct fake_cell list[] = {SEVEN, ONE};
static const struct fake_cell seventh[] = {SEVEN, ONE, ONE, {"seventh", 7}};
static const unsigned types[] = {20, 20, 20, 25};
static const struct fake_cell stored[] = {{"map", 3}, {"slots", 5}};
static const struct fake_answer answers[] = {
    {.statement = "JOIN video", .cells = seventh, .rows = 1, .columns = 4, .types = types},
    {.statement = "ORDER BY ids", .cells = list, .rows = 1, .columns = 2, .types = types},
    {.statement = "video v WHERE", .cells = seventh, .rows = 1, .columns = 4, .types = types},
    {.statement = "SELECT name, value", .cells = stored, .rows = 1, .columns = 2},
    {0}};

static struct fake_backend backend;
static struct db_conn_config database;
static struct db_statement statements[3];
static struct query_environment environment;
static _Atomic uint64_t item_failures[FAILURE_KINDS];
static const struct query_ops *query;
static const struct map_ops *map;

static int open_all(void **state)
{
    struct failure failure;
    (void)state;
    never_fails = true;
    fake_backend_open(&backend, answers);
    never_fails = false;
    environment.queries = queries_make(0);
    statements[0] = environment.queries.feed_list;
    statements[1] = environment.queries.video;
    statements[2] = environment.queries.feed;
    database = (struct db_conn_config){.conninfo = backend.conninfo,
                                       .application_name = "test",
                                       .statements = statements,
                                       .statement_count = 3};
    const struct db_pool_config pool = {.address = "fake:1",
                                        .max_size = 2,
                                        .max_connecting = 1,
                                        .background_interval_ns = CLOCK_NS_PER_S,
                                        .connect_timeout_ns = TEST_PATIENCE_NS,
                                        .drain_timeout_ns = CLOCK_NS_PER_S,
                                        .cancel_timeout_ns = CLOCK_NS_PER_S,
                                        .close_timeout_ns = CLOCK_NS_PER_S,
                                        .recorder_events = 16,
                                        .policy = &db_pool_policy_autonomous,
                                        .connector = db_conn_connector(&database)};
    environment.database = &database;
    environment.item_failures = item_failures;
    environment.threads = (struct cached_threads_config){
        .max_threads = 1000, .stack_bytes = (size_t)128 << 10, .create = pthread_create};
    environment.fan_out_limit = 4;
    environment.pool = db_pool_open(&pool, &failure);
    assert_non_null(environment.pool);
    db_pool_ready(environment.pool);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    db_pool_close(environment.pool);
    wait_until(db_pool_free(environment.pool));
    fake_backend_close(&backend);
    return 0;
}

static void see_video(void *context, const struct video *video)
{
    unsigned *seen = context;
    assert_int_equal(video->id, 7);
    assert_string_equal(video->title, "seventh");
    (*seen)++;
}

/* A request of one item: the right row, or a failure with a reason. */
static bool request(void)
{
    /* libpq without memory may wait for more of an answer that it has: until the deadline */
    int64_t deadline_ns = clock_now_ns() + 2 * CLOCK_NS_PER_S;
    const struct query_request wanted = {.environment = &environment,
                                         .variants = {.query = query,
                                                      .map = map,
                                                      .fatal = &fatal_abort,
                                                      .cancel = &cancel_siblings,
                                                      .admission = &admission_deadline,
                                                      .release = &release_always,
                                                      .deadline = &deadline_propagated},
                                         .feed_id = 42,
                                         .items = 1,
                                         .deadline_ns = deadline_ns,
                                         .wait_ns = deadline_ns,
                                         .request_id = "r"};
    struct query_outcome outcome = {0};
    unsigned seen = 0;
    fake_backend_forget(&backend);
    bool ok = query->run(&wanted, &outcome);
    assert_int_equal(ok, outcome.map != NULL);
    if (ok) {
        map->each(outcome.map, see_video, &seen);
        assert_int_equal(seen, 1);
        map->destroy(outcome.map);
    } else {
        assert_true(outcome.failure.kind != FAILURE_NONE && outcome.failure.message[0]);
    }
    wait_until(cached_threads_count().at_work == 0);
    wait_until(db_pool_count(environment.pool).in_use == 0);
    return ok;
}

static void fail_each_variant(enum failing kind)
{
    static const struct query_ops *const queries[] = {&query_batched, &query_per_item,
                                                      &query_bounded, &query_pipelined,
                                                      &query_nested,  &query_connect_per_item};
    static const struct map_ops *const maps[] = {&map_mutex, &map_slots, &map_unsafe,
                                                 &map_unchecked};
    map = &map_mutex;
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        query = queries[i];
        fail_each(kind, request);
    }
    query = &query_per_item;
    for (size_t i = 1; i < sizeof maps / sizeof maps[0]; i++) {
        map = maps[i];
        fail_each(kind, request);
    }
}

static void test_a_request_of_each_variant(void **state)
{
    (void)state;
    fail_each_variant(FAILING_ALLOCATION);
}

static void test_a_request_when_calls_fail(void **state)
{
    (void)state;
    fail_each_variant(FAILING_CALL);
}

/* A PATCH: body, check, connection, statement, and what is stored then. */
static bool patch(void)
{
    static const char body[] = "{\"map\":\"slots\",\"query\":\"batched\"}";
    struct failure failure = {0};
    char message[256] = "";
    json_error_t error;
    fake_backend_forget(&backend);
    json_t *changes = json_loadb(body, sizeof body - 1, JSON_REJECT_DUPLICATES, &error);
    if (!changes)
        return false;
    json_t *all = NULL;
    if (toggles_check(changes, message, sizeof message))
        all = store_change(&database, STORE_TOGGLE, "here:1", changes,
                           clock_now_ns() + TEST_PATIENCE_NS, &failure);
    bool ok = all && json_object_size(all) == 1;
    assert_true(ok || all || message[0] || failure.message[0]);
    json_decref(all);
    json_decref(changes);
    return ok;
}

static void test_a_patch(void **state)
{
    (void)state;
    fail_each(FAILING_ALLOCATION, patch);
    fail_each(FAILING_CALL, patch);
}

/* What an operator looks at. */
static bool look(void)
{
    struct text out = {0};
    json_t *view = pool_json_view(environment.pool, DB_POOL_NOW);
    json_t *verdict = pool_json_verdict(environment.pool, DB_POOL_NOW);
    bool ok = view && verdict;
    ok = pool_json_events(environment.pool, "fake:1", &out) && ok;
    db_pool_write_metrics(environment.pool, "feeds", &out);
    ok = ok && !out.failed && strstr(out.data, "db_client_connection_max{");
    text_clear(&out);
    json_decref(view);
    json_decref(verdict);
    return ok;
}

static void test_a_look_at_the_pool(void **state)
{
    (void)state;
    fail_each(FAILING_ALLOCATION, look);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_of_each_variant),
        cmocka_unit_test(test_a_request_when_calls_fail),
        cmocka_unit_test(test_a_patch),
        cmocka_unit_test(test_a_look_at_the_pool),
    };
    return cmocka_run_group_tests_name("out_of_memory", tests, open_all, close_all);
}

#else

static void test_without_a_sanitizer_only(void **state)
{
    (void)state;
    skip(); /* it replaces the allocator, as the sanitizer does */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_without_a_sanitizer_only)};
    return cmocka_run_group_tests_name("out_of_memory", tests, NULL, NULL);
}

#endif
