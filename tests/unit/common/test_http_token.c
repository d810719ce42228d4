#include "common/http/token.h"

#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_matches_the_whole_token_and_nothing_else(void **state)
{
    static const struct {
        const char *authorization;
        bool matches;
    } cases[] = {
        {"Bearer secret", true},
        {"Bearer secre", false},
        {"Bearer secret1", false},
        {"Bearer Secret", false},
        {"bearer secret", true}, /* RFC 9110: the scheme's case does not count, */
        {"BEARER secret", true},
        {"bearer Secret", false}, /* the token's does */
        {"Basic secret", false},
        {"Bearer", false},
        {"Bearer ", false},
        {"secret", false},
        {"", false},
        {NULL, false},
        {"Bearer  secret", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (http_token_matches("secret", cases[i].authorization) != cases[i].matches)
            fail_msg("%s", cases[i].authorization ? cases[i].authorization : "(none)");
}

/* A page of another site sends an Origin that differs from the Host, or a Host that is not ours, or
 * the browser says where it comes from. */
static void test_pages_of_other_sites_are_refused(void **state)
{
    static const char here[] = "127.0.0.1:8081";
    static const char rebound[] = "rebound.example.org:8081";
    static const struct {
        struct http_token_page page;
        bool is_own;
    } cases[] = {
        {{"PATCH", NULL, NULL, NULL, false, false}, true},
        {{"PATCH", here, NULL, NULL, false, false}, true},
        {{"PATCH", "localhost:8081", NULL, NULL, false, false}, true},
        {{"PATCH", "[::1]:8081", NULL, NULL, false, false}, true},
        {{"PATCH", "127.0.0.1", NULL, NULL, false, false}, true},
        {{"PATCH", here, "http://127.0.0.1:8081", NULL, false, false}, true},
        {{"PATCH", here, "http://127.0.0.1:8081", "same-origin", false, false}, true},
        {{"PATCH", here, NULL, "none", false, false}, true},
        {{"PATCH", here, "http://127.0.0.1:8082", NULL, false, false}, false},
        {{"PATCH", here, "https://127.0.0.1:8081", NULL, false, false}, false},
        {{"PATCH", here, "http://example.org", NULL, false, false}, false},
        {{"PATCH", here, "null", NULL, false, false}, false},
        {{"PATCH", here, "", NULL, false, false}, false},
        {{"PATCH", NULL, "http://127.0.0.1:8081", NULL, false, false}, false},
        {{"POST", here, NULL, "cross-site", false, false}, false},
        {{"POST", here, NULL, "same-site", false, false}, false},
        {{"POST", here, NULL, "", false, false}, false},
        {{"GET", here, NULL, "cross-site", false, false}, true},
        {{"HEAD", here, NULL, "cross-site", false, false}, true},
        {{"PATCH", "[localhost]:8081", NULL, NULL, false, false}, false},
        {{"PATCH", rebound, NULL, NULL, false, false}, false},
        {{"GET", rebound, NULL, NULL, false, false}, false},
        {{"PATCH", rebound, "http://rebound.example.org:8081", NULL, false, false}, false},
        {{"PATCH", "127.0.0.1.example.org:8081", NULL, NULL, false, false}, false},
        {{"PATCH", "", NULL, NULL, false, false}, false},
        /* with a token a port may have any name, but no other site's page */
        {{"PATCH", "lab.example.org", NULL, NULL, true, false}, true},
        {{"PATCH", "lab.example.org", "http://lab.example.org", NULL, true, false}, true},
        {{"PATCH", "lab.example.org", "https://lab.example.org", NULL, true, false}, true},
        {{"PATCH", "lab.example.org", "ftp://lab.example.org", NULL, true, false}, false},
        {{"PATCH", "lab.example.org", "lab.example.org", NULL, true, false}, false},
        {{"PATCH", "lab.example.org", "https://example.org", NULL, true, false}, false},
        {{"PATCH", "lab.example.org", "http://example.org", NULL, true, false}, false},
        {{"PATCH", "lab.example.org", NULL, "cross-site", true, false}, false},
        /* a browser adds the cookie by itself, so a change needs the Origin */
        {{"PATCH", "lab.example.org", "http://lab.example.org", NULL, true, true}, true},
        {{"PATCH", "lab.example.org", "https://lab.example.org", NULL, true, true}, true},
        {{"PATCH", "lab.example.org", NULL, NULL, true, true}, false},
        {{"POST", "lab.example.org", NULL, "same-origin", true, true}, false},
        {{"DELETE", "lab.example.org", NULL, "none", true, true}, false},
        {{"PATCH", "lab.example.org", "http://example.org", "same-origin", true, true}, false},
        {{"GET", "lab.example.org", NULL, NULL, true, true}, true},
        {{"HEAD", "lab.example.org", NULL, NULL, true, true}, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (http_token_is_own_page(&cases[i].page) != cases[i].is_own)
            fail_msg("case %zu", i);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_a_file_s_first_line_is_the_token(void **state)
{
    char path[] = "/tmp/flashover-token-XXXXXX";
    char token[HTTP_TOKEN_SIZE];
    char error[HTTP_ERROR_SIZE];
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    close(fd);
    write_file(path, "secret\r\nsecond line\n");
    assert_true(http_token_read(path, token, error));
    assert_string_equal(token, "secret");
    write_file(path, "no-end-of-line");
    assert_true(http_token_read(path, token, error));
    assert_string_equal(token, "no-end-of-line");
    unlink(path);
    assert_false(http_token_read(path, token, error));
    assert_non_null(strstr(error, path));
}

/* What no request could carry would shut the port to everybody. */
static void test_tokens_that_no_header_can_carry(void **state)
{
    static char longest[HTTP_TOKEN_SIZE];
    static char too_long[HTTP_TOKEN_SIZE + 1];
    static char much_too_long[2000];
    memset(longest, 'x', sizeof longest - 1);
    memset(too_long, 'x', sizeof too_long - 1);
    memset(much_too_long, 'x', sizeof much_too_long - 1);
    const char *const cases[][2] = {
        {"", "holds no token"},
        {"\nsecret\n", "holds no token"},
        {"\r\nsecret", "holds no token"},
        {"   \n", "a blank"},
        {" secret", "a blank"},
        {"secret ", "a blank"},
        {"se cret", "a blank"},
        {"sec\tret", "printable"},
        {"s\xc3\xa9"
         "cret",
         "printable"},
        {"\xef\xbb\xbfsecret", "printable"}, /* a byte order mark */
        {"x", "too short"},
        {"short", "too short"},
        {too_long, "more than 255"},
        {much_too_long, "more than 255"},
    };
    char path[] = "/tmp/flashover-token-XXXXXX";
    char token[HTTP_TOKEN_SIZE];
    char error[HTTP_ERROR_SIZE];
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file(path, cases[i][0]);
        if (http_token_read(path, token, error))
            fail_msg("case %zu was taken", i);
        assert_non_null(strstr(error, cases[i][1]));
        assert_non_null(strstr(error, path));
        assert_string_equal(token, "");
    }
    write_file(path, longest);
    assert_true(http_token_read(path, token, error));
    assert_string_equal(token, longest);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches_the_whole_token_and_nothing_else),
        cmocka_unit_test(test_pages_of_other_sites_are_refused),
        cmocka_unit_test(test_a_file_s_first_line_is_the_token),
        cmocka_unit_test(test_tokens_that_no_header_can_carry),
    };
    return cmocka_run_group_tests_name("http_token", tests, NULL, NULL);
}
