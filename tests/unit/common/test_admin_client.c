/* The client for small requests beside the load, against a server on loopback that answers, refuses
 * or stays silent; malformed tokens. */
#include "common/client/admin_client.h"

#include "tests/support/loopback.h"
#include "tests/support/support.h"

#include <unistd.h>

#define PATIENCE_MS ((int)(TEST_PATIENCE_NS / CLOCK_NS_PER_MS))

static char why[512];

static struct admin_client *new_client(const char *url, const char *token_file)
{
    struct admin_client *client = admin_client_new(url, token_file, why, sizeof why);
    if (!client)
        fail_msg("%s", why);
    return client;
}

static int ask_within(struct admin_client *client, const char *path, int timeout_ms,
                      struct text *out)
{
    why[0] = '\0';
    return admin_client_request(client, "GET", path, NULL, timeout_ms, out, why, sizeof why);
}

static int ask(struct admin_client *client, const char *path, struct text *out)
{
    return ask_within(client, path, PATIENCE_MS, out);
}

static void test_answers_come_with_their_status(void **state)
{
    (void)state;
    struct loopback server;
    struct text answer = {0};
    loopback_start(&server, NULL);
    loopback_reply(&server, "GET /readyz", 200, "ready");
    loopback_reply(&server, "GET /readyz", 503, "no");
    loopback_reply(&server, "GET /readyz", 500, "");
    struct admin_client *client = new_client(server.url, NULL);
    assert_int_equal(ask(client, "/readyz", &answer), 200);
    assert_string_equal(answer.data, "ready");
    assert_int_equal(ask(client, "/readyz", &answer), 503);
    assert_string_equal(answer.data, "no"); /* replaces the answer before */
    assert_int_equal(ask(client, "/readyz", &answer), 500);
    assert_int_equal(answer.size_bytes, 0);
    assert_int_equal(ask(client, "/nowhere", &answer), 404);
    assert_int_equal(loopback_asked(&server, "GET /readyz"), 3); /* no request was repeated */
    text_clear(&answer);
    admin_client_free(client);
    loopback_stop(&server);
}

static void test_a_body_is_sent_with_its_method(void **state)
{
    (void)state;
    struct loopback server;
    struct text answer = {0};
    char body[LOOPBACK_BODY_SIZE];
    loopback_start(&server, NULL);
    loopback_reply(&server, "PATCH /v1/toggles", 200, "{}");
    loopback_reply(&server, "GET /v1/toggles", 200, "[]");
    struct admin_client *client = new_client(server.url, NULL);
    assert_int_equal(admin_client_request(client, "PATCH", "/v1/toggles", "{\"map\":\"mutex\"}",
                                          PATIENCE_MS, &answer, why, sizeof why),
                     200);
    loopback_latest_body(&server, "PATCH /v1/toggles", body);
    assert_string_equal(body, "{\"map\":\"mutex\"}");
    /* the next request is a GET without a body */
    assert_int_equal(ask(client, "/v1/toggles", &answer), 200);
    assert_string_equal(answer.data, "[]");
    loopback_latest_body(&server, "GET /v1/toggles", body);
    assert_string_equal(body, "");
    assert_int_equal(loopback_asked(&server, "PATCH /v1/toggles"), 1);
    text_clear(&answer);
    admin_client_free(client);
    loopback_stop(&server);
}

static void test_slashes_at_the_urls_end_are_one(void **state)
{
    (void)state;
    struct loopback server;
    struct text answer = {0};
    char url[LOOPBACK_URL_SIZE + 2];
    loopback_start(&server, NULL);
    loopback_reply(&server, "GET /readyz", 200, "");
    snprintf(url, sizeof url, "%s//", server.url);
    struct admin_client *client = new_client(url, NULL);
    assert_int_equal(ask(client, "/readyz", &answer), 200);
    admin_client_free(client);
    loopback_stop(&server);
}

static void test_the_tokens_first_line_is_sent(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } cases[] = {{LOOPBACK_TOKEN, 200},
                 {LOOPBACK_TOKEN "\n", 200},
                 {LOOPBACK_TOKEN "\r\nmore\n", 200},
                 {LOOPBACK_TOKEN "x\n", 401}};
    struct loopback server;
    struct text answer = {0};
    loopback_start(&server, LOOPBACK_TOKEN);
    loopback_reply(&server, "GET /readyz", 200, "");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[] = "/tmp/flashover-token-XXXXXX";
        loopback_write_file(path, cases[i].text);
        struct admin_client *client = new_client(server.url, path);
        assert_int_equal(ask(client, "/readyz", &answer), cases[i].status);
        admin_client_free(client);
        unlink(path);
    }
    struct admin_client *client = new_client(server.url, NULL);
    assert_int_equal(ask(client, "/readyz", &answer), 401);
    assert_non_null(strstr(answer.data, "\"message\"")); /* an error has a body too */
    text_clear(&answer);
    admin_client_free(client);
    loopback_stop(&server);
}

/* A token goes into a header, so it may hold no byte that ends the header. */
static void test_what_is_no_token_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",      "\n",     "\r\n",     "\nsecond", " ",
                                        "a b",   "a\tb",   "a\x7f",    "\x01",     "caf\xc3\xa9",
                                        " lead", "trail ", "a\x1b[31m"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char path[] = "/tmp/flashover-token-XXXXXX";
        loopback_write_file(path, texts[i]);
        if (admin_client_new("http://127.0.0.1", path, why, sizeof why))
            fail_msg("'%s' is taken for a token", texts[i]);
        assert_non_null(strstr(why, path));
        assert_non_null(strstr(why, "is no token"));
        unlink(path);
    }
    assert_null(admin_client_new("http://127.0.0.1", "/proc/none", why, sizeof why));
    assert_non_null(strstr(why, "cannot read the token file /proc/none: No such file"));
}

static void test_nobody_there(void **state)
{
    (void)state;
    char url[LOOPBACK_URL_SIZE];
    struct text answer = {0};
    int fd = loopback_take_port(false, url);
    struct admin_client *client = new_client(url, NULL);
    text_add(&answer, "of the request before");
    assert_int_equal(ask(client, "/readyz", &answer), 0);
    assert_int_equal(answer.size_bytes, 0);
    assert_ptr_equal(strstr(why, url), why); /* the address comes first */
    assert_non_null(strstr(why, "connect"));
    admin_client_free(client);
    close(fd);
}

static void test_silence_ends_at_the_timeout(void **state)
{
    (void)state;
    char url[LOOPBACK_URL_SIZE];
    struct text answer = {0};
    int fd = loopback_take_port(true, url);
    struct admin_client *client = new_client(url, NULL);
    int64_t began_ns = clock_now_ns();
    assert_int_equal(ask_within(client, "/readyz", 100, &answer), 0);
    assert_in_range(clock_now_ns() - began_ns, 95 * CLOCK_NS_PER_MS, TEST_PATIENCE_NS);
    assert_non_null(strstr(why, "imeout"));
    admin_client_free(client);
    close(fd);
}

static void test_a_client_lives_through_an_outage(void **state)
{
    (void)state;
    struct loopback server;
    struct text answer = {0};
    loopback_start(&server, NULL);
    loopback_reply(&server, "GET /readyz", 200, "ready");
    struct admin_client *client = new_client(server.url, NULL);
    assert_int_equal(ask(client, "/readyz", &answer), 200);
    loopback_stop(&server); /* closes the client's connection */
    assert_int_equal(ask(client, "/readyz", &answer), 0);
    assert_int_equal(ask(client, "/readyz", &answer), 0);
    text_clear(&answer);
    admin_client_free(client);
}

static void test_answers_are_not_taken_beyond_their_limit(void **state)
{
    (void)state;
    struct loopback server;
    struct text answer = {0};
    struct text page = {0};
    loopback_start(&server, NULL);
    assert_true(text_reserve(&page, ADMIN_ANSWER_BYTES + 2));
    while (page.size_bytes < ADMIN_ANSWER_BYTES)
        text_append(&page, "0123456789abcdef", 16);
    loopback_reply(&server, "GET /metrics", 200, page.data);
    struct admin_client *client = new_client(server.url, NULL);
    assert_int_equal(ask(client, "/metrics", &answer), 200);
    assert_int_equal(answer.size_bytes, ADMIN_ANSWER_BYTES);
    assert_int_equal(loopback_asked(&server, "GET /metrics"), 1);
    text_append(&page, "x", 1); /* makes the next answer too long */
    assert_int_equal(ask(client, "/metrics", &answer), 0);
    assert_in_range(answer.size_bytes, 1, ADMIN_ANSWER_BYTES);
    assert_non_null(strstr(why, server.url));
    text_clear(&answer);
    admin_client_free(client);
    loopback_stop(&server);
    text_clear(&page);
}

static void test_only_http_and_no_endless_url(void **state)
{
    (void)state;
    struct text answer = {0};
    char path[1100];
    struct admin_client *client = new_client("file:///etc", NULL);
    assert_int_equal(ask(client, "/passwd", &answer), 0);
    assert_int_equal(answer.size_bytes, 0);
    admin_client_free(client);
    client = new_client("http://127.0.0.1", NULL);
    snprintf(path, sizeof path, "/%0*d", 1050, 0);
    assert_int_equal(ask(client, path, &answer), 0);
    assert_string_equal(why, "the URL is too long");
    admin_client_free(client);
    admin_client_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_come_with_their_status),
        cmocka_unit_test(test_a_body_is_sent_with_its_method),
        cmocka_unit_test(test_slashes_at_the_urls_end_are_one),
        cmocka_unit_test(test_the_tokens_first_line_is_sent),
        cmocka_unit_test(test_what_is_no_token_is_refused),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_silence_ends_at_the_timeout),
        cmocka_unit_test(test_a_client_lives_through_an_outage),
        cmocka_unit_test(test_answers_are_not_taken_beyond_their_limit),
        cmocka_unit_test(test_only_http_and_no_endless_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
