/* The commands other than serving: refused arguments, messages when the database or the service is
 * missing, and exit statuses. */
#include "service/commands.h"

#include "common/http/server.h"
#include "tests/support/capture.h"
#include "tests/support/support.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static struct capture err;

static void assert_said(const char *part)
{
    const char *end = strchr(err.text, '\n');
    assert_non_null(end);
    assert_string_equal(end, "\n"); /* one line */
    if (!strstr(err.text, part))
        fail_msg("'%s' is not in: %s", part, err.text);
}

/* ---- toggle -----------------------------------------------------------------------------------
 */

#define NOWHERE "host=/nowhere/at/all user=x dbname=x"

static int toggle(const char *database, const char *first, const char *second)
{
    const struct config config = {.control_database_url = database};
    char *const assignments[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second};
    capture_begin(&err, STDERR_FILENO);
    int status = command_toggle(&config, (first != NULL) + (second != NULL), assignments);
    capture_end(&err);
    return status;
}

/* Status 2 shows that the database was not contacted. That would give status 1. */
static void test_wrong_assignments_are_refused(void **state)
{
    static const char *const wrong[][3] = {
        {"map", NULL, "'map' is not NAME=VALUE"},
        {"map=mutex", "", "'' is not NAME=VALUE"},
        {"map=mutex", "map=unsafe", "'map=unsafe' is the second value for one toggle"},
        {"map=\xff", NULL, "is not text in UTF-8"},
        {"m\xff=mutex", NULL, "is not text in UTF-8"},
        {"mop=mutex", NULL, "mop"},
        {"=mutex", NULL, "service toggle: "},
        {"map=none", NULL, "none"},
        {"map=", NULL, "map"},
        {"map=mutex=1", NULL, "mutex=1"},
        {"query=batched", "map=none", "none"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (toggle(NOWHERE, wrong[i][0], wrong[i][1]) != 2)
            fail_msg("%s was not refused: %s", wrong[i][0], err.text);
        assert_said(wrong[i][2]);
        assert_memory_equal(err.text, "service toggle: ", 16);
    }
}

static void test_without_a_database_nothing_is_changed(void **state)
{
    (void)state;
    assert_int_equal(toggle(NOWHERE, "map=mutex", "query=batched"), 1);
    assert_said("nothing was changed: connect to /nowhere/at/all:");
    assert_int_equal(toggle(NOWHERE, NULL, NULL), 1);
    assert_said("connect to /nowhere/at/all:");
    assert_null(strstr(err.text, "changed"));
}

/* ---- set --------------------------------------------------------------------------------------
 */

static int set(const char *first, const char *second)
{
    const struct config config = {.control_database_url = NOWHERE};
    char *const assignments[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second};
    capture_begin(&err, STDERR_FILENO);
    int status = command_set(&config, (first != NULL) + (second != NULL), assignments);
    capture_end(&err);
    return status;
}

/* Status 1: it was well-formed, and the database was asked. */
static void test_settings_are_numbers_or_nothing(void **state)
{
    (void)state;
    assert_int_equal(set("pool-size=3", "max-waiters="), 1);
    assert_said("service set: nothing was changed: connect to /nowhere/at/all:");
    assert_int_equal(set("pool-size=3", "pool-size=4"), 2);
    assert_said("service set: 'pool-size=4' is the second value for one setting");
    assert_int_equal(set("pool-size=0x3", NULL), 2);
    assert_said("must be an integer in the range 1..1000, or null");
    assert_int_equal(set("pool-min=4", "pool-size=3"), 2);
    assert_said("at most pool-size, 3");
}

/* ---- healthcheck ------------------------------------------------------------------------------
 */

static int check_health(const char *address)
{
    const struct config config = {.listen = address};
    capture_begin(&err, STDERR_FILENO);
    int status = command_healthcheck(&config);
    capture_end(&err);
    return status;
}

static int ready_status; /* set before the server starts */

static void readyz(void *context, const struct http_request *request,
                   struct http_response *response)
{
    (void)context, (void)request;
    response->status = ready_status;
    text_add(&response->body, "HTTP/1.1 200 \n"); /* only the status line counts */
}

/* The exit status against a server that answers /readyz with `status`. `host` is the host of its
 * address. */
static int check_server(int status, const char *host)
{
    static const struct http_route routes[] = {{"GET", "/readyz", readyz}};
    const struct http_server_config config = {.name = "test",
                                              .address = "127.0.0.1:0",
                                              .max_connections = 10,
                                              .routes = routes,
                                              .route_count = 1};
    char error[HTTP_ERROR_SIZE];
    char address[64];
    ready_status = status;
    struct http_server *server = http_server_open(&config, error);
    assert_non_null(server);
    assert_true(http_server_serve(server, error));
    snprintf(address, sizeof address, "%s:%u", host, http_server_port(server));
    int exit_status = check_health(address);
    assert_int_equal(http_server_stop(server, clock_now_ns() + TEST_PATIENCE_NS), 0);
    return exit_status;
}

static void test_a_ready_service_is_healthy(void **state)
{
    (void)state;
    assert_int_equal(check_server(200, "127.0.0.1"), 0);
    assert_string_equal(err.text, "");
    assert_int_equal(check_server(200, "localhost"), 0);
    assert_int_equal(check_server(200, "0.0.0.0"), 0); /* all interfaces, loopback among them */
}

static void test_any_other_answer_is_not(void **state)
{
    (void)state;
    assert_int_equal(check_server(503, "127.0.0.1"), 1);
    assert_said("is not ready");
    assert_int_equal(check_server(404, "127.0.0.1"), 1);
    assert_said("is not ready");
}

/* A port that accepts one connection, sends `answer` and hangs up. */
struct listener {
    int fd;
    const char *answer; /* NULL: sends nothing and does not hang up */
    char address[32];
    pthread_t thread;
};

static void *listener_main(void *argument)
{
    const struct listener *listener = argument;
    char request[1024];
    int fd = accept(listener->fd, NULL, NULL);
    assert(fd >= 0);
    if (listener->answer) {
        (void)!recv(fd, request, sizeof request, 0);
        (void)!send(fd, listener->answer, strlen(listener->answer), MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
    }
    while (recv(fd, request, sizeof request, 0) > 0)
        continue;
    close(fd);
    return NULL;
}

static void open_listener(struct listener *listener, const char *answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    listener->answer = answer;
    listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener->fd >= 0);
    assert_int_equal(bind(listener->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(listener->fd, (struct sockaddr *)&address, &size), 0);
    snprintf(listener->address, sizeof listener->address, "127.0.0.1:%u", ntohs(address.sin_port));
}

static void listen_in_a_thread(struct listener *listener)
{
    assert_int_equal(listen(listener->fd, 1), 0);
    CHECK_PTHREAD(pthread_create(&listener->thread, NULL, listener_main, listener));
}

static void close_listener(struct listener *listener)
{
    CHECK_PTHREAD(pthread_join(listener->thread, NULL));
    close(listener->fd);
}

static void test_half_an_answer_is_none(void **state)
{
    static const char *const answers[] = {"", "HTTP/1.1 20", "HTTP/1.1 2000",
                                          "SSH-2.0-server 200 "};
    struct listener listener;
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        open_listener(&listener, answers[i]);
        listen_in_a_thread(&listener);
        int status = check_health(listener.address);
        close_listener(&listener);
        assert_int_equal(status, 1);
        assert_said("is not ready");
    }
}

static void test_silence_ends_after_two_seconds(void **state)
{
    struct listener listener;
    (void)state;
    open_listener(&listener, NULL);
    listen_in_a_thread(&listener);
    int64_t from_ns = clock_now_ns();
    int status = check_health(listener.address);
    int64_t took_ns = clock_now_ns() - from_ns;
    close_listener(&listener);
    assert_int_equal(status, 1);
    assert_said("is not ready");
    assert_in_range(took_ns / CLOCK_NS_PER_MS, 1900, TEST_PATIENCE_NS / CLOCK_NS_PER_MS);
}

static void test_nobody_listens(void **state)
{
    static const char *const wrong[] = {"8080", "", "[::1:80"};
    struct listener listener; /* bound, to keep the port, but not listening */
    (void)state;
    open_listener(&listener, NULL);
    assert_int_equal(check_health(listener.address), 1);
    assert_said("nobody listens on 127.0.0.1:");
    close(listener.fd);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(check_health(wrong[i]), 1);
        assert_said("nobody listens on ");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_assignments_are_refused),
        cmocka_unit_test(test_without_a_database_nothing_is_changed),
        cmocka_unit_test(test_settings_are_numbers_or_nothing),
        cmocka_unit_test(test_a_ready_service_is_healthy),
        cmocka_unit_test(test_any_other_answer_is_not),
        cmocka_unit_test(test_half_an_answer_is_none),
        cmocka_unit_test(test_silence_ends_after_two_seconds),
        cmocka_unit_test(test_nobody_listens),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
