/* The wait between two loads, until the service is ready and its pool is idle. Its timeout is 30 s.
 * No test waits for that; a stop ends the wait at the same place in the code. */
#include "common/client/readiness.h"

#include "tests/support/loopback.h"
#include "tests/support/support.h"

#include <signal.h>
#include <unistd.h>

#define POOL(used, pending)                                                                        \
    "db_client_connection_count{state=\"idle\"} 5\n"                                               \
    "db_client_connection_count{state=\"used\"} " used                                             \
    "\ndb_client_connection_pending_requests " pending "\n"

struct fixture {
    struct loopback server;
    struct stop stop;
    struct readiness readiness;
    char why[512];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    loopback_start(&fixture->server, NULL);
    *state = fixture;
    return stop_init(&fixture->stop) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    readiness_destroy(&fixture->readiness);
    stop_destroy(&fixture->stop);
    loopback_stop(&fixture->server);
    free(fixture);
    return 0;
}

static void watch(struct fixture *fixture, const char *admin_url)
{
    if (!readiness_init(&fixture->readiness, fixture->server.url, admin_url, NULL, &fixture->stop,
                        fixture->why, sizeof fixture->why))
        fail_msg("%s", fixture->why);
}

static int wait_for_it(struct fixture *fixture)
{
    fixture->why[0] = '\0';
    return readiness_wait(&fixture->readiness, fixture->why, sizeof fixture->why) ? 0 : -1;
}

/* Looks once, and returns why the service is not ready. */
static const char *why_not(struct fixture *fixture)
{
    stop_request(&fixture->stop, SIGTERM);
    assert_int_equal(wait_for_it(fixture), -1);
    assert_string_equal(fixture->why, "stopped by a signal");
    return fixture->readiness.last;
}

static void test_ready_is_enough_without_an_admin_port(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "GET /readyz", 200, "");
    watch(fixture, NULL);
    assert_int_equal(wait_for_it(fixture), 0);
    assert_int_equal(loopback_asked(&fixture->server, "GET /readyz"), 1);
    assert_int_equal(loopback_asked(&fixture->server, "GET /metrics"), 0);
}

static void test_it_waits_until_the_service_is_ready(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "GET /readyz", 503, "");
    loopback_reply(&fixture->server, "GET /readyz", 500, "");
    loopback_reply(&fixture->server, "GET /readyz", 200, "");
    watch(fixture, NULL);
    assert_int_equal(wait_for_it(fixture), 0);
    assert_int_equal(loopback_asked(&fixture->server, "GET /readyz"), 3);
}

static void test_it_waits_until_the_pool_is_idle(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "GET /readyz", 200, "");
    loopback_reply(&fixture->server, "GET /metrics", 200, POOL("2", "1"));
    loopback_reply(&fixture->server, "GET /metrics", 200, POOL("0", "1"));
    loopback_reply(&fixture->server, "GET /metrics", 200, POOL("1", "0"));
    loopback_reply(&fixture->server, "GET /metrics", 500, POOL("0", "0"));
    loopback_reply(&fixture->server, "GET /metrics", 200, POOL("0", "0"));
    watch(fixture, fixture->server.url);
    assert_int_equal(wait_for_it(fixture), 0);
    assert_int_equal(loopback_asked(&fixture->server, "GET /metrics"), 5);
}

/* A service that reports no pool has no pool that could be busy. */
static void test_figures_that_are_missing_are_not_waited_for(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "GET /readyz", 200, "");
    loopback_reply(&fixture->server, "GET /metrics", 200, "");
    watch(fixture, fixture->server.url);
    assert_int_equal(wait_for_it(fixture), 0);
    assert_int_equal(loopback_asked(&fixture->server, "GET /metrics"), 1);
}

static void test_a_service_that_is_ready_no_more_is_waited_for_again(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "GET /readyz", 200, "");
    loopback_reply(&fixture->server, "GET /readyz", 503, "");
    loopback_reply(&fixture->server, "GET /readyz", 200, "");
    loopback_reply(&fixture->server, "GET /metrics", 200, POOL("1", "0"));
    loopback_reply(&fixture->server, "GET /metrics", 200, POOL("0", "0"));
    watch(fixture, fixture->server.url);
    assert_int_equal(wait_for_it(fixture), 0);
    assert_int_equal(loopback_asked(&fixture->server, "GET /readyz"), 3);
    assert_int_equal(loopback_asked(&fixture->server, "GET /metrics"), 2);
}

static void test_it_knows_that_the_service_is_not_ready(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "GET /readyz", 503, "");
    watch(fixture, fixture->server.url);
    assert_string_equal(why_not(fixture), "/readyz answers 503");
    assert_int_equal(loopback_asked(&fixture->server, "GET /metrics"), 0);
}

static void test_it_knows_that_the_admin_port_refuses(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "GET /readyz", 200, "");
    loopback_reply(&fixture->server, "GET /metrics", 401, POOL("0", "0"));
    watch(fixture, fixture->server.url);
    assert_string_equal(why_not(fixture), "/metrics answers 401");
}

static void test_it_knows_that_connections_are_in_use(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "GET /readyz", 200, "");
    loopback_reply(&fixture->server, "GET /metrics", 200, POOL("7", "0"));
    watch(fixture, fixture->server.url);
    assert_non_null(strstr(why_not(fixture), "7 connections are still in use"));
}

static void test_it_knows_that_connections_are_waited_for(void **state)
{
    struct fixture *fixture = *state;
    loopback_reply(&fixture->server, "GET /readyz", 200, "");
    loopback_reply(&fixture->server, "GET /metrics", 200, POOL("0", "4"));
    watch(fixture, fixture->server.url);
    assert_non_null(strstr(why_not(fixture), "4 "));
    assert_non_null(strstr(fixture->readiness.last, "waited for"));
}

static void test_it_knows_that_nobody_is_there(void **state)
{
    struct fixture *fixture = *state;
    char url[LOOPBACK_URL_SIZE];
    int fd = loopback_take_port(false, url);
    loopback_reply(&fixture->server, "GET /readyz", 200, "");
    watch(fixture, url);
    assert_non_null(strstr(why_not(fixture), url));
    close(fd);
}

static void test_a_token_that_is_none_is_told_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct readiness *readiness = &fixture->readiness;
    assert_false(readiness_init(readiness, fixture->server.url, fixture->server.url, "/proc/none",
                                &fixture->stop, fixture->why, sizeof fixture->why));
    assert_non_null(strstr(fixture->why, "/proc/none"));
    assert_null(readiness->public);
    assert_null(readiness->admin);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ready_is_enough_without_an_admin_port),
        TEST(test_it_waits_until_the_service_is_ready),
        TEST(test_it_waits_until_the_pool_is_idle),
        TEST(test_figures_that_are_missing_are_not_waited_for),
        TEST(test_a_service_that_is_ready_no_more_is_waited_for_again),
        TEST(test_it_knows_that_the_service_is_not_ready),
        TEST(test_it_knows_that_the_admin_port_refuses),
        TEST(test_it_knows_that_connections_are_in_use),
        TEST(test_it_knows_that_connections_are_waited_for),
        TEST(test_it_knows_that_nobody_is_there),
        TEST(test_a_token_that_is_none_is_told_at_once),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
