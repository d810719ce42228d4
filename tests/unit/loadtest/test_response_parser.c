#include "loadtest/engine/response_parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define LIMIT 64

/* Feeds `bytes` in pieces of `step`; stops when the answer is whole or broken. If `closes`, the
 * connection ends after the bytes. */
static enum response_progress feed(struct response_parser *parser, const char *bytes, size_t size,
                                   size_t step, bool closes, enum response_excess excess)
{
    response_parser_begin(parser, LIMIT, excess);
    for (size_t at = 0; at < size; at += step) {
        size_t piece = size - at < step ? size - at : step;
        enum response_progress progress = response_parser_feed(parser, bytes + at, piece);
        if (progress != RESPONSE_MORE)
            return progress;
    }
    return closes ? response_parser_end(parser) : RESPONSE_MORE;
}

struct expected {
    const char *bytes;
    bool closes;
    enum response_progress progress;
    int status;
    bool keep_alive;
    const char *body;
    const char *request_id;
};

static const struct expected answers[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Request-Id: 0f-a1\r\n\r\nhello", false,
     RESPONSE_DONE, 200, true, "hello", "0f-a1"},
    {"HTTP/1.1 503 No\r\nx-request-id: b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false,
     RESPONSE_DONE, 503, false, "", "b"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: "
     "1\r\n\r\n",
     false, RESPONSE_DONE, 200, true, "hello", ""},
    {"HTTP/1.0 200 OK\r\n\r\nuntil the end", true, RESPONSE_DONE, 200, false, "until the end", ""},
    {"HTTP/1.1 200 OK\r\n\r\nuntil the end", true, RESPONSE_DONE, 200, false, "until the end", ""},
    {"HTTP/1.1 100 Continue\r\nX-Other: 1\r\n\r\nHTTP/1.1 204 None\r\nX-Request-Id: z\r\n\r\n",
     false, RESPONSE_DONE, 204, true, "", "z"},
    {"HTTP/1.1 200 OK\r\nX-Request-Id-2: no\r\nX-Request: no\r\nContent-Length: 0\r\n\r\n", false,
     RESPONSE_DONE, 200, true, "", ""},
    /* an interim answer's headers are dropped, and it has no body even if it announces one */
    {"HTTP/1.1 102 Wait\r\nX-Request-Id: a\r\nContent-Length: 3\r\n\r\n"
     "HTTP/1.1 200 OK\r\nX-Request-Id: b\r\nContent-Length: 2\r\n\r\nok",
     false, RESPONSE_DONE, 200, true, "ok", "b"},
    {"HTTP/1.1 204 None\r\nContent-Length: 3\r\n\r\n", false, RESPONSE_DONE, 204, true, "", ""},
    {"HTTP/1.1 304 Same\r\nTransfer-Encoding: chunked\r\n\r\n", false, RESPONSE_DONE, 304, true, "",
     ""},
    {"HTTP/1.1 200 OK\r\nX-Request-Id: a\r\nX-Request-Id: b\r\nContent-Length: 0\r\n\r\n", false,
     RESPONSE_DONE, 200, true, "", "b"},
    {"HTTP/1.1 1\r\n\r\n", false, RESPONSE_BROKEN, 0, false, NULL, NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", false,
     RESPONSE_BROKEN, 0, false, NULL, NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", false, RESPONSE_BROKEN, 0,
     false, NULL, NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", true, RESPONSE_CUT, 0, false, NULL,
     NULL},
    {"HTTP/1.1 200 OK\r\nContent-", true, RESPONSE_CUT, 0, false, NULL, NULL},
    {"", true, RESPONSE_CUT, 0, false, NULL, NULL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", true, RESPONSE_CUT, 0, false,
     NULL, NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", false, RESPONSE_MORE, 0, false, NULL, NULL},
    {"garbage\r\n\r\n", false, RESPONSE_BROKEN, 0, false, NULL, NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false, RESPONSE_BROKEN, 0, false, NULL, NULL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, RESPONSE_BROKEN, 0,
     false, NULL, NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n"
     "0123456789012345678901234567890123456789012345678901234567890123+",
     false, RESPONSE_BROKEN, 0, false, NULL, NULL},
};

static void test_answers_in_pieces_of_any_size(void **state)
{
    (void)state;
    struct response_parser parser = {0};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const struct expected *expected = &answers[i];
        size_t size = strlen(expected->bytes);
        for (size_t step = 1; step <= size + 1; step++) {
            enum response_progress progress = feed(&parser, expected->bytes, size, step,
                                                   expected->closes, RESPONSE_EXCESS_BREAKS);
            assert_int_equal(progress, expected->progress);
            assert_int_equal(parser.any_bytes, size > 0);
            if (progress == RESPONSE_BROKEN)
                assert_non_null(parser.problem);
            if (progress != RESPONSE_DONE)
                continue;
            assert_int_equal(parser.status, expected->status);
            assert_int_equal(parser.keep_alive, expected->keep_alive);
            assert_int_equal(parser.body.size_bytes, strlen(expected->body));
            assert_memory_equal(parser.body.data ? parser.body.data : "", expected->body,
                                strlen(expected->body));
            assert_string_equal(parser.request_id, expected->request_id);
        }
    }
    response_parser_destroy(&parser);
}

static void test_bytes_behind_the_answer_end_the_connection(void **state)
{
    (void)state;
    static const char bytes[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n";
    struct response_parser parser = {0};
    assert_int_equal(
        feed(&parser, bytes, sizeof bytes - 1, sizeof bytes, false, RESPONSE_EXCESS_BREAKS),
        RESPONSE_DONE);
    assert_false(parser.keep_alive);
    assert_int_equal(parser.body.size_bytes, 2);
    response_parser_destroy(&parser);
}

static void test_a_body_that_is_not_kept(void **state)
{
    (void)state;
    struct response_parser parser = {0};
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
    char piece[16384];
    memset(piece, 'x', sizeof piece);
    response_parser_begin(&parser, LIMIT, RESPONSE_EXCESS_IGNORED);
    assert_int_equal(response_parser_feed(&parser, head, sizeof head - 1), RESPONSE_MORE);
    for (size_t left = 1073741824; left > sizeof piece; left -= sizeof piece)
        assert_int_equal(response_parser_feed(&parser, piece, sizeof piece), RESPONSE_MORE);
    assert_int_equal(response_parser_feed(&parser, piece, sizeof piece), RESPONSE_DONE);
    assert_int_equal(parser.body.size_bytes, LIMIT);
    assert_true(parser.body.capacity_bytes <= 1024);
    response_parser_destroy(&parser);
}

static void test_a_long_request_id_is_cut_and_plain(void **state)
{
    (void)state;
    struct response_parser parser = {0};
    static const char bytes[] =
        "HTTP/1.1 200 OK\r\nX-Request-Id: a\x1b"
        "b0123456789012345678901234567890123456789012345678901234567890123456789\r\n"
        "Content-Length: 0\r\n\r\n";
    for (size_t step = 1; step < sizeof bytes; step += 7) {
        feed(&parser, bytes, sizeof bytes - 1, step, false, RESPONSE_EXCESS_BREAKS);
        if (parser.problem)
            continue; /* a parser may also refuse such a byte */
        assert_int_equal(strlen(parser.request_id), RESPONSE_REQUEST_ID_SIZE - 1);
        assert_memory_equal(parser.request_id, "a?b0123", 7);
    }
    response_parser_destroy(&parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_in_pieces_of_any_size),
        cmocka_unit_test(test_bytes_behind_the_answer_end_the_connection),
        cmocka_unit_test(test_a_body_that_is_not_kept),
        cmocka_unit_test(test_a_long_request_id_is_cut_and_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
