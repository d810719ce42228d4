/* The HTTP server's routes and streams, over real sockets: clients that do not read or hang up, and
 * a stop of the server meanwhile. tests/integration covers what the service needs of the server. */
#include "common/http/server.h"

#include "tests/support/support.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE_BYTES 65536

/* The handlers' counters; all atomic. */
static _Atomic unsigned pieces;
static _Atomic unsigned released;

static bool next_piece(void *context, struct text *piece)
{
    char bytes[1024];
    (void)context;
    memset(bytes, 'x', sizeof bytes);
    for (size_t i = 0; i < PIECE_BYTES / sizeof bytes; i++)
        text_append(piece, bytes, sizeof bytes);
    atomic_fetch_add(&pieces, 1);
    return true;
}

static bool three_pieces(void *context, struct text *piece)
{
    unsigned *count = context;
    text_addf(piece, "piece %u\n", ++*count);
    return *count < 3;
}

static void release(void *context)
{
    free(context);
    atomic_fetch_add(&released, 1);
}

static void stream(void *context, const struct http_request *request,
                   struct http_response *response)
{
    (void)context, (void)request;
    text_add(&response->body, "in the stream's place");
    response->stream = (struct http_stream){next_piece, release, NULL};
}

static void three(void *context, const struct http_request *request, struct http_response *response)
{
    (void)context, (void)request;
    response->stream = (struct http_stream){three_pieces, release, calloc(1, sizeof(unsigned))};
}

static void tail(void *context, const struct http_request *request, struct http_response *response)
{
    (void)context;
    text_addf(&response->body, "[%s]", request->tail);
    snprintf(response->location, sizeof response->location, "/there");
}

static void inside(void *context, const struct http_request *request,
                   struct http_response *response)
{
    tail(context, request, response);
    text_add(&response->body, " inside");
}

static const struct http_route routes[] = {{"GET", "/stream", stream},
                                           {"GET", "/three", three},
                                           {"GET", "/a/*", tail},
                                           {"GET", "/a/*/b", inside},
                                           {"POST", "/a/*/b", tail}};
static const struct http_server_config config = {.name = "test",
                                                 .address = "127.0.0.1:0",
                                                 .max_connections = 10,
                                                 .max_body_bytes = 100,
                                                 .routes = routes,
                                                 .route_count = sizeof routes / sizeof routes[0]};

static struct http_server *start(void)
{
    char error[HTTP_ERROR_SIZE];
    struct http_server *server = http_server_open(&config, error);
    assert_non_null(server);
    assert_true(http_server_serve(server, error));
    atomic_store(&pieces, 0);
    atomic_store(&released, 0);
    return server;
}

static int connect_to(const struct http_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int ask(const struct http_server *server, const char *line)
{
    char request[256];
    int size = snprintf(request, sizeof request,
                        "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", line);
    int fd = connect_to(server);
    assert_int_equal(send(fd, request, (size_t)size, MSG_NOSIGNAL), size);
    return fd;
}

/* Reads the whole answer, which ends when the server closes the connection. */
static void answer(const struct http_server *server, const char *line, char out[4096])
{
    int fd = ask(server, line);
    size_t used = 0;
    ssize_t got;
    while (used < 4095 && (got = recv(fd, out + used, 4095 - used, 0)) > 0)
        used += (size_t)got;
    out[used] = '\0';
    close(fd);
}

static void test_routes(void **state)
{
    (void)state;
    static const struct {
        const char *line, *expected;
    } cases[] = {{"GET /a/x", "\r\n\r\n[x]"},
                 {"GET /a/x/b", "\r\n\r\n[x] inside"},
                 {"POST /a/y%20z/b", "\r\n\r\n[y z]"},
                 {"GET /a/b/b", "\r\n\r\n[b] inside"},
                 {"GET /a/x", "Location: /there\r\n"},
                 {"GET /a//b", " 404 "},
                 {"GET /a/", " 404 "},
                 {"GET /a/x/y/b", " 404 "},
                 {"GET /a/x/bb", " 404 "},
                 {"GET /a/x/b/", " 404 "},
                 {"PUT /a/x/b", "Allow: GET, HEAD, POST\r\n"},
                 {"POST /a/x", "Allow: GET, HEAD\r\n"}};
    struct http_server *server = start();
    char text[4096];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        answer(server, cases[i].line, text);
        if (!strstr(text, cases[i].expected))
            fail_msg("%s: no '%s' in %s", cases[i].line, cases[i].expected, text);
    }
    assert_int_equal(http_server_stop(server, clock_now_ns() + TEST_PATIENCE_NS), 0);
}

static void test_a_stream_is_sent_piece_by_piece(void **state)
{
    (void)state;
    struct http_server *server = start();
    char text[4096];
    answer(server, "GET /three", text);
    assert_non_null(strstr(text, "Transfer-Encoding: chunked\r\n"));
    assert_non_null(
        strstr(text, "\r\n\r\n8\r\npiece 1\n\r\n8\r\npiece 2\n\r\n8\r\npiece 3\n\r\n0\r\n\r\n"));
    answer(server, "HEAD /three", text);
    assert_null(strstr(text, "piece"));
    wait_until(atomic_load(&released) == 2);
    assert_int_equal(http_server_stop(server, clock_now_ns() + TEST_PATIENCE_NS), 0);
}

/* True once the server has not called next_piece() for 200 ms, because the kernel's buffers are
 * full. That is long enough on a busy machine too. */
static bool is_stuck(unsigned *seen, int64_t *since_ns)
{
    unsigned now = atomic_load(&pieces);
    if (now == 0 || now != *seen) {
        *seen = now;
        *since_ns = clock_now_ns();
    }
    return clock_now_ns() - *since_ns > 200 * CLOCK_NS_PER_MS;
}

static void wait_until_stuck(void)
{
    unsigned seen = 0;
    int64_t since_ns = clock_now_ns();
    wait_until(is_stuck(&seen, &since_ns));
}

static void test_a_client_that_does_not_read_holds_up_nobody(void **state)
{
    (void)state;
    struct http_server *server = start();
    char text[4096];
    int fd = ask(server, "GET /stream");
    wait_until_stuck();
    assert_true(atomic_load(&pieces) < 1000); /* of 64 KiB each: they do not pile up */
    answer(server, "GET /a/x", text);
    assert_non_null(strstr(text, "[x]"));
    assert_int_equal(atomic_load(&released), 0);
    close(fd); /* unread data makes this a reset */
    wait_until(atomic_load(&released) == 1);
    assert_int_equal(http_server_stop(server, clock_now_ns() + TEST_PATIENCE_NS), 0);
}

static void test_a_client_that_hangs_up_ends_its_stream(void **state)
{
    (void)state;
    struct http_server *server = start();
    for (unsigned i = 1; i <= 20; i++) {
        close(ask(server, "GET /stream"));
        wait_until(atomic_load(&released) == i);
    }
    assert_int_equal(http_server_stop(server, clock_now_ns() + TEST_PATIENCE_NS), 0);
}

static int send_half_a_body(const struct http_server *server, const char *line)
{
    char whole[256];
    int fd = connect_to(server);
    int size = snprintf(whole, sizeof whole,
                        "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345", line);
    assert_int_equal(send(fd, whole, (size_t)size, MSG_NOSIGNAL), size);
    return fd;
}

/* Their answers were made and never sent. LeakSanitizer looks for them at the program's end. */
static void test_refused_requests_that_never_end(void **state)
{
    static const char *const lines[] = {"POST /nowhere", "POST /a/x", "GET /a/x/b"};
    (void)state;
    struct http_server *server = start();
    char text[4096];
    for (unsigned i = 0; i < 30; i++)
        close(send_half_a_body(server, lines[i % 3]));
    wait_until((answer(server, "GET /a/x", text), strstr(text, "[x]")));
    assert_int_equal(http_server_stop(server, clock_now_ns() + TEST_PATIENCE_NS), 0);
}

/* A peer that does not end its request holds up a stop for a second, not to its deadline. */
static void test_a_stop_does_not_wait_for_a_body(void **state)
{
    (void)state;
    struct http_server *server = start();
    int fd = send_half_a_body(server, "POST /a/x/b");
    char byte;
    answer(server, "GET /a/x", (char[4096]){0});
    int64_t began_ns = clock_now_ns();
    assert_int_equal(http_server_stop(server, began_ns + TEST_PATIENCE_NS), 0);
    assert_true(clock_now_ns() - began_ns < TEST_PATIENCE_NS / 2);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

/* Must be the last test: its server is never freed. */
static void test_the_end_does_not_wait_for_a_client_that_does_not_read(void **state)
{
    (void)state;
    struct http_server *server = start();
    int fd = ask(server, "GET /stream");
    wait_until_stuck();
    assert_int_equal(http_server_stop(server, clock_now_ns() + 100 * CLOCK_NS_PER_MS), 1);
    close(fd);
    wait_until(atomic_load(&released) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_a_stream_is_sent_piece_by_piece),
        cmocka_unit_test(test_a_client_that_does_not_read_holds_up_nobody),
        cmocka_unit_test(test_a_client_that_hangs_up_ends_its_stream),
        cmocka_unit_test(test_refused_requests_that_never_end),
        cmocka_unit_test(test_a_stop_does_not_wait_for_a_body),
        cmocka_unit_test(test_the_end_does_not_wait_for_a_client_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
