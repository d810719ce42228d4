#include "loadtest/plan/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/text.h"

#include <stdio.h>

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *port, *base, *request_line;
        uint32_t items;
        bool has_feed;
    } cases[] = {
        {"http://127.0.0.1:8080/v1/feeds/{feed}", "127.0.0.1", "8080", "http://127.0.0.1:8080",
         "GET /v1/feeds/42 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n", 0, true},
        {"http://localhost", "localhost", "80", "http://localhost:80",
         "GET /v1/feeds/42 HTTP/1.1\r\nHost: localhost:80\r\n", 0, true},
        {"http://[::1]:81/x/{feed}/y?items=12&z", "::1", "81", "http://[::1]:81",
         "GET /x/42/y?items=12&z HTTP/1.1\r\nHost: [::1]:81\r\n", 12, true},
        {"http://[::1]/", "::1", "80", "http://[::1]:80", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n", 0,
         false},
        {"http://h/a?b=1&items=1000", "h", "80", "http://h:80",
         "GET /a?b=1&items=1000 HTTP/1.1\r\nHost: h:80\r\n", 1000, false},
        {"http://h/a?items=1001", "h", "80", "http://h:80", "GET /a?items=1001 HTTP/1.1\r\n", 0,
         false},
        {"http://h/a?items=1e3", "h", "80", "http://h:80", "GET /a?items=1e3 HTTP/1.1\r\n", 0,
         false},
        {"HTTP://h/a", "h", "80", "http://h:80", "GET /a HTTP/1.1\r\n", 0, false},
        {"Http://h", "h", "80", "http://h:80", "GET /v1/feeds/42 HTTP/1.1\r\n", 0, true},
        {"http://h/a?items=-1", "h", "80", "http://h:80", "GET /a?items=-1 HTTP/1.1\r\n", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct target target;
        char why[128] = "";
        char request[TARGET_REQUEST_SIZE];
        assert_true(target_parse(&target, cases[i].url, why, sizeof why));
        assert_string_equal(target.host, cases[i].host);
        assert_string_equal(target.port, cases[i].port);
        assert_string_equal(target.base, cases[i].base);
        assert_int_equal(target.items, cases[i].items);
        assert_int_equal(target.has_feed, cases[i].has_feed);
        size_t size = target_write_request(&target, 42, request);
        assert_int_equal(size, strlen(request));
        assert_memory_equal(request, cases[i].request_line, strlen(cases[i].request_line));
        assert_string_equal(request + size - 4, "\r\n\r\n");
    }
}

/* Logs and terminals keep what is printed, and a password must not be in it. */
static void test_a_login_is_refused_and_hidden(void **state)
{
    static const char *const cases[][2] = {
        {"http://user:pw@h:81/x", "http://***@h:81/x"},
        {"http://user@h", "http://***@h"},
        {"HTTP://a:b@c@h/@", "HTTP://***@h/@"},
        {"user:pw@h:81", "***@h:81"},
        {"http://h/a@b", "http://h/a@b"},
        {"http://h\n/", "http://h /"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char shown[64];
        target_show(cases[i][0], shown, sizeof shown);
        assert_string_equal(shown, cases[i][1]);
    }
    struct target target;
    char why[128];
    assert_false(target_parse(&target, "http://user:pw@h/", why, sizeof why));
    assert_string_equal(why, "has a user name or a password, which are not sent");
}

static void test_refused_urls(void **state)
{
    (void)state;
    static const char *const urls[] = {"",
                                       "127.0.0.1:8080",
                                       "https://h/",
                                       "http://",
                                       "http:///x",
                                       "http://:80",
                                       "http://h:0/",
                                       "http://h:x/",
                                       "http://h:65536",
                                       "http://::1/",
                                       "http://h?q",
                                       "http://a@h/",
                                       "http://h/ ",
                                       "http://h/\r\nX: 1",
                                       "http://h/#x",
                                       "http://h/{feed}{feed}",
                                       "http://[::1/",
                                       "http://h/\xc3\xa9"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct target target;
        char why[128] = "";
        assert_false(target_parse(&target, urls[i], why, sizeof why));
        assert_true(strlen(why) > 0);
    }
    struct text longest = {0};
    struct target target;
    char why[128];
    char request[TARGET_REQUEST_SIZE];
    text_add(&longest, "http://h/");
    while (longest.size_bytes < 511)
        text_add(&longest, "x");
    assert_true(target_parse(&target, longest.data, why, sizeof why));
    assert_true(target_write_request(&target, 1, request) > 500);
    text_add(&longest, "x");
    assert_false(target_parse(&target, longest.data, why, sizeof why));
    text_clear(&longest);
}

static void test_resolve(void **state)
{
    (void)state;
    struct target target;
    char why[256] = "";
    assert_true(target_parse(&target, "http://127.0.0.1:9", why, sizeof why));
    assert_true(target_resolve(&target, why, sizeof why));
    assert_int_equal(target.addresses[0].socket.ss_family, AF_INET);
    assert_true(target_parse(&target, "http://no-such-host.invalid", why, sizeof why));
    assert_false(target_resolve(&target, why, sizeof why));
    assert_non_null(strstr(why, "no-such-host.invalid"));
}

static void test_the_number_of_items_is_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *url, *changed;
    } cases[] = {
        {"http://h/v1/feeds/{feed}", "http://h/v1/feeds/{feed}?items=40"},
        {"http://h/v1/feeds/{feed}?items=10", "http://h/v1/feeds/{feed}?items=40"},
        {"http://h/v1/feeds/{feed}?a=b", "http://h/v1/feeds/{feed}?a=b&items=40"},
        {"http://h/f?items=1&a=b&items=2", "http://h/f?a=b&items=40"},
        {"http://h/f?a={feed}&items=1", "http://h/f?a={feed}&items=40"},
        {"http://h/f?myitems=3", "http://h/f?myitems=3&items=40"},
        {"http://h", "http://h/v1/feeds/{feed}?items=40"},
        {"http://h/f?", "http://h/f?&items=40"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct target target;
        struct target expected;
        char why[128];
        char request[TARGET_REQUEST_SIZE];
        char wanted[TARGET_REQUEST_SIZE];
        assert_true(target_parse(&target, cases[i].url, why, sizeof why));
        assert_true(target_parse(&expected, cases[i].changed, why, sizeof why));
        assert_true(target_set_items(&target, 40));
        assert_string_equal(target.url, expected.url);
        assert_int_equal(target.items, 40);
        target_write_request(&target, 7, request);
        target_write_request(&expected, 7, wanted);
        assert_string_equal(request, wanted);
    }
}

static void test_a_url_without_room_for_the_items_stays(void **state)
{
    (void)state;
    char url[512];
    char why[128];
    struct target target;
    int size = snprintf(url, sizeof url, "http://h/%0500d", 0);
    assert_in_range(size, 500, 511);
    assert_true(target_parse(&target, url, why, sizeof why));
    assert_false(target_set_items(&target, 1000));
    assert_string_equal(target.url, url);
    assert_int_equal(target.items, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_a_login_is_refused_and_hidden),
        cmocka_unit_test(test_refused_urls),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_the_number_of_items_is_replaced),
        cmocka_unit_test(test_a_url_without_room_for_the_items_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
