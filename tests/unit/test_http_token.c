#include "common/http_token.h"

#include "tests/unit/support.h"

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
        {"bearer secret", false},
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

/* Other sites' pages have an Origin that is not the Host that they ask, or a Host that is not ours.
 */
static void test_pages_of_other_sites_are_not_local(void **state)
{
    static const struct {
        const char *host, *origin;
        bool is_local;
    } cases[] = {
        {NULL, NULL, true},
        {"127.0.0.1:8081", NULL, true},
        {"localhost:8081", NULL, true},
        {"[::1]:8081", NULL, true},
        {"127.0.0.1", NULL, true},
        {"127.0.0.1:8081", "http://127.0.0.1:8081", true},
        {"127.0.0.1:8081", "http://127.0.0.1:8082", false},
        {"127.0.0.1:8081", "https://127.0.0.1:8081", false},
        {"127.0.0.1:8081", "http://example.org", false},
        {"127.0.0.1:8081", "null", false},
        {"127.0.0.1:8081", "", false},
        {NULL, "http://127.0.0.1:8081", false},
        {"rebound.example.org:8081", NULL, false},
        {"rebound.example.org:8081", "http://rebound.example.org:8081", false},
        {"127.0.0.1.example.org:8081", NULL, false},
        {"", NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (http_token_is_local(cases[i].host, cases[i].origin) != cases[i].is_local)
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
    write_file(path, "no end of line");
    assert_true(http_token_read(path, token, error));
    assert_string_equal(token, "no end of line");
    for (int i = 0; i < 2; i++) {
        write_file(path, i ? "\nsecret\n" : "");
        assert_false(http_token_read(path, token, error));
        assert_non_null(strstr(error, "holds no token"));
        assert_string_equal(token, "");
    }
    unlink(path);
    assert_false(http_token_read(path, token, error));
    assert_non_null(strstr(error, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches_the_whole_token_and_nothing_else),
        cmocka_unit_test(test_pages_of_other_sites_are_not_local),
        cmocka_unit_test(test_a_file_s_first_line_is_the_token),
    };
    return cmocka_run_group_tests_name("http_token", tests, NULL, NULL);
}
