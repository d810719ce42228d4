/* GET /v1/feeds/{feed_id} and the other public routes, over real sockets, with a pool of
 * connections to a server that answers from a table. */
#include "service/http/service.h"

#include "tests/support/fake_backend.h"
#include "tests/support/support.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

/* Two videos, in PostgreSQL's binary format. */
static const struct fake_cell cells[] = {{"\0\0\0\0\0\0\0\7", 8},
                                         {"\0\0\0\0\0\0\1\2", 8},
                                         {"\0\0\0\0\0\0\0\3", 8},
                                         {"say \"hi\"", 8},
                                         {"\0\0\0\0\0\0\0\10", 8},
                                         {"\0\0\0\0\0\0\0\0", 8},
                                         {"\xff\xff\xff\xff\xff\xff\xff\xff", 8},
                                         {"", 0}};
static const unsigned types[] = {20, 20, 20, 25};
static const struct fake_answer two_videos[] = {
    {.statement = "JOIN video", .cells = cells, .rows = 2, .columns = 4, .types = types}, {0}};
static const struct fake_answer no_feed[] = {
    {.statement = "JOIN video", .columns = 4, .types = types},
    {.statement = "ORDER BY ids", .columns = 2, .types = types},
    {0}};

static struct fake_backend backend;
static struct service service;
static struct http_server *server;

static void set_toggles(const char *deadline)
{
    const char *values[TOGGLES];
    static const enum value_origin origins[TOGGLES];
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++)
        values[toggle] = toggle_value_name(toggle, 0);
    values[TOGGLE_DEADLINE] = deadline;
    toggles_init(&service.toggles, values, origins);
}

static void open_the_pool(void)
{
    static struct db_conn_config database;
    static struct db_statement statements[3];
    struct failure failure;
    const struct queries queries = queries_make(0);
    statements[0] = queries.feed_list;
    statements[1] = queries.video;
    statements[2] = queries.feed;
    database = (struct db_conn_config){
        .conninfo = backend.conninfo, .statements = statements, .statement_count = 3};
    const struct db_pool_config pool = {.address = "fake:1",
                                        .max_size = 2,
                                        .max_connecting = 1,
                                        .background_interval_ns = CLOCK_NS_PER_S,
                                        .connect_timeout_ns = TEST_PATIENCE_NS,
                                        .drain_timeout_ns = CLOCK_NS_PER_MS,
                                        .cancel_timeout_ns = CLOCK_NS_PER_MS,
                                        .close_timeout_ns = CLOCK_NS_PER_S,
                                        .policy = &db_pool_policy_autonomous,
                                        .connector = db_conn_connector(&database)};
    service.environment.queries = queries;
    service.environment.database = &database;
    service.environment.item_failures = service.metrics.item_failures;
    service.environment.pool = db_pool_open(&pool, &failure);
    assert_non_null(service.environment.pool);
    db_pool_ready(service.environment.pool);
}

static int start(void **state)
{
    static struct http_server_config config;
    char error[HTTP_ERROR_SIZE];
    (void)state;
    memset(&service, 0, sizeof service);
    service.default_items = 2;
    service.request_timeout_ns = TEST_PATIENCE_NS;
    set_toggles("propagated");
    fake_backend_open(&backend, two_videos);
    open_the_pool();
    config = (struct http_server_config){.name = "test",
                                         .address = "127.0.0.1:0",
                                         .max_connections = 10,
                                         .max_body_bytes = 100,
                                         .routes = public_routes,
                                         .route_count = public_route_count,
                                         .context = &service,
                                         .observe = service_observe};
    server = http_server_open(&config, error);
    return server && http_server_serve(server, error) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    unsigned left = http_server_stop(server, clock_now_ns() + TEST_PATIENCE_NS);
    db_pool_close(service.environment.pool);
    int64_t give_up_ns = clock_now_ns() + TEST_PATIENCE_NS;
    bool freed = db_pool_free(service.environment.pool);
    while (!freed && clock_now_ns() < give_up_ns) {
        clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS);
        freed = db_pool_free(service.environment.pool);
    }
    fake_backend_close(&backend);
    return left == 0 && freed ? 0 : -1;
}

/* Reads the whole answer, which ends when the server closes the connection. */
static const char *get(const char *target)
{
    static char answer[8192];
    char request[512];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    size_t used = 0;
    ssize_t got;
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-1\r\n"
                        "Connection: close\r\n\r\n",
                        target);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, request, (size_t)size, MSG_NOSIGNAL), size);
    while (used < sizeof answer - 1 &&
           (got = recv(fd, answer + used, sizeof answer - 1 - used, 0)) > 0)
        used += (size_t)got;
    answer[used] = '\0';
    close(fd);
    return answer;
}

static void assert_answer(const char *target, int status, const char *part)
{
    const char *answer = get(target);
    char start_line[32];
    snprintf(start_line, sizeof start_line, "HTTP/1.1 %d ", status);
    if (strncmp(answer, start_line, strlen(start_line)) != 0 || !strstr(answer, part))
        fail_msg("%s is not answered with %d and '%s', but: %s", target, status, part, answer);
}

static void test_a_feed_is_answered_video_by_video(void **state)
{
    (void)state;
    assert_answer("/v1/feeds/42?items=2", 200,
                  "\r\n\r\n{\"feed_id\":42,\"count\":2,\"items\":{"
                  "\"7\":{\"title\":\"say \\\"hi\\\"\",\"views\":258,\"likes\":3},"
                  "\"8\":{\"title\":\"\",\"views\":0,\"likes\":-1}}}\n");
    assert_answer("/v1/feeds/42", 200, "\"count\":2"); /* the count is the service's option */
    assert_answer("/v1/feeds/9223372036854775807?items=2", 200, "\"feed_id\":9223372036854775807,");
    assert_answer("/v1/feeds/007?items=0002", 200, "\"feed_id\":7,");
}

/* Each answer names the range, and none costs a query. */
static void test_mistakes_are_named_and_cost_nothing(void **state)
{
    static const char *const feeds[] = {"0",
                                        "-1",
                                        "+1",
                                        "x",
                                        "1x",
                                        "%201",
                                        "1.0",
                                        "0x10",
                                        "00",
                                        "1%00",
                                        "9223372036854775808",
                                        "99999999999999999999"};
    static const char *const items[] = {
        "items=0",          "items=1001",      "items=",        "items",    "items=-1",
        "items=x",          "items=2x",        "items=%202",    "items=+2", "items=2&items=2",
        "items=4294967298", "items=2&items=x", "x=1&items=1001"};
    (void)state;
    for (size_t i = 0; i < sizeof feeds / sizeof feeds[0]; i++) {
        char target[128];
        snprintf(target, sizeof target, "/v1/feeds/%s", feeds[i]);
        assert_answer(target, 400, "feed_id must be an integer in 1..9223372036854775807");
    }
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        char target[128];
        snprintf(target, sizeof target, "/v1/feeds/42?%s", items[i]);
        assert_answer(target, 400, "items must be given at most once, an integer in 1..1000");
    }
    assert_answer("/v1/feeds/x", 400, "\"ecode\":-400");
    assert_answer("/v1/feeds/x", 400, "\"request_id\":\"r-1\"");
    assert_int_equal(fake_backend_count(&backend, ""), 0);
    for (enum failure_kind kind = 0; kind < FAILURE_KINDS; kind++)
        assert_int_equal(atomic_load(&service.metrics.request_failures[kind]), 0);
}

static void test_other_arguments_are_passed_over(void **state)
{
    (void)state;
    assert_answer("/v1/feeds/42?verbose&item=9&ITEMS=9", 200, "\"count\":2");
}

static void test_a_feed_that_does_not_exist(void **state)
{
    (void)state;
    atomic_store(&backend.answers, no_feed);
    assert_answer("/v1/feeds/42", 404, "\"ecode\":-404");
    assert_int_equal(atomic_load(&service.metrics.request_failures[FAILURE_NOT_FOUND]), 1);
    assert_int_equal(db_pool_count(service.environment.pool).in_use, 0);
}

/* Fewer rows than requested are an error, not a shorter answer. */
static void test_half_a_feed_is_no_answer(void **state)
{
    (void)state;
    const char *answer = get("/v1/feeds/42?items=3");
    assert_non_null(strstr(answer, "HTTP/1.1 502 "));
    assert_non_null(strstr(answer, "\"ecode\":-502"));
    assert_null(strstr(answer, "\"count\""));
    assert_int_equal(atomic_load(&service.metrics.request_failures[FAILURE_DATABASE]), 1);
    assert_int_equal(atomic_load(&service.metrics.item_failures[FAILURE_DATABASE]), 1);
}

/* The deadline passes before anything begins. The fix then does nothing. The bug does all the work
 * and throws the answer away. */
static void test_an_answer_that_comes_too_late_is_none(void **state)
{
    (void)state;
    service.request_timeout_ns = 0;
    assert_answer("/v1/feeds/42", 503, "timed out while checking out a connection");
    assert_int_equal(fake_backend_count(&backend, ""), 0);
    set_toggles("ignored");
    assert_answer("/v1/feeds/42", 504, "request deadline exceeded");
    assert_int_equal(fake_backend_count(&backend, "v.id"), 1);
    assert_int_equal(atomic_load(&service.metrics.request_failures[FAILURE_REQUEST_DEADLINE]), 1);
}

static void test_a_silent_server_is_left_at_the_deadline(void **state)
{
    static const struct fake_answer silent[] = {{.statement = "v.id", .reaction = FAKE_SILENT},
                                                {0}};
    (void)state;
    assert_answer("/v1/feeds/42", 200, "\"count\":2"); /* makes a connection */
    atomic_store(&backend.answers, silent);
    service.request_timeout_ns = 2 * CLOCK_NS_PER_S;
    assert_answer("/v1/feeds/42", 504, "incomplete read of message");
    assert_int_equal(atomic_load(&service.metrics.request_failures[FAILURE_READ_DEADLINE]), 1);
}

static void test_health_and_readiness(void **state)
{
    (void)state;
    assert_answer("/healthz", 200, "{\"status\":\"alive\"}\n");
    atomic_store(&service.stopping, true); /* checked before the database */
    assert_answer("/readyz", 503, "the service is stopping");
    assert_answer("/healthz", 200, "{\"status\":\"alive\"}\n");
}

static uint64_t observed(const struct metrics_histogram durations[SERVICE_STATUSES])
{
    uint64_t count = 0;
    for (size_t i = 0; i < SERVICE_STATUSES; i++)
        for (size_t bucket = 0; bucket <= METRICS_BUCKETS; bucket++)
            count += atomic_load(&durations[i].counts[bucket]);
    return count;
}

static void test_feeds_are_observed_apart_from_the_rest(void **state)
{
    (void)state;
    (void)get("/v1/feeds/42");
    (void)get("/v1/feeds/x");
    (void)get("/healthz");
    (void)get("/nowhere");
    wait_until(observed(service.metrics.other_duration) == 2);
    wait_until(observed(service.metrics.feed_duration) == 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_feed_is_answered_video_by_video),
        TEST(test_mistakes_are_named_and_cost_nothing),
        TEST(test_other_arguments_are_passed_over),
        TEST(test_a_feed_that_does_not_exist),
        TEST(test_half_a_feed_is_no_answer),
        TEST(test_an_answer_that_comes_too_late_is_none),
        TEST(test_a_silent_server_is_left_at_the_deadline),
        TEST(test_health_and_readiness),
        TEST(test_feeds_are_observed_apart_from_the_rest),
    };
    return cmocka_run_group_tests_name("feed_handler", tests, NULL, NULL);
}
