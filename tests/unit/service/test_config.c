/* The service's options: defaults, ends of the ranges, combinations, and refusals, each of which
 * names the wrong option on one line. */
#include "service/config.h"

#include "tests/support/capture.h"
#include "tests/support/support.h"

#include <unistd.h>

static struct capture out, err; /* of the last reading or check */

static void assert_one_line(const char *text)
{
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_string_equal(end, "\n");
}

static enum options_outcome read_into(struct config *config, int *positional_count, char **argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    capture_begin(&out, STDOUT_FILENO);
    capture_begin(&err, STDERR_FILENO);
    enum options_outcome outcome = config_read(config, argc, argv, positional_count);
    capture_end(&err);
    capture_end(&out);
    return outcome;
}

/* Reads up to four arguments. */
static enum options_outcome read_arguments(struct config *config, const char *first,
                                           const char *second, const char *third,
                                           const char *fourth)
{
    const char *const arguments[] = {"service", first, second, third, fourth, NULL};
    char *argv[sizeof arguments / sizeof arguments[0]];
    int positional_count;
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++)
        argv[i] = (char *)(uintptr_t)arguments[i];
    return read_into(config, &positional_count, argv);
}

static enum options_outcome read_option(struct config *config, const char *option,
                                        const char *value)
{
    return read_arguments(config, option, value, NULL, NULL);
}

static bool check_serving(struct config *config)
{
    capture_begin(&err, STDERR_FILENO);
    bool ok = config_check_serving(config);
    capture_end(&err);
    return ok;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static void test_every_toggle_is_healthy_by_default(void **state)
{
    struct config config;
    (void)state;
    assert_int_equal(read_option(&config, NULL, NULL), OPTIONS_RUN);
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++) {
        assert_string_equal(config.toggles[toggle], toggle_value_name(toggle, 0));
        assert_int_equal(config.toggle_origins[toggle], VALUE_FROM_DEFAULT);
    }
    assert_string_equal(err.text, "");
    assert_string_equal(out.text, "");
}

static void test_a_toggle_that_is_given_is_an_options(void **state)
{
    struct config config;
    (void)state;
    setenv("FLASHOVER_QUERY", "batched", 1); /* counts although it is the default */
    enum options_outcome outcome = read_option(&config, "--map", "unsafe");
    unsetenv("FLASHOVER_QUERY");
    assert_int_equal(outcome, OPTIONS_RUN);
    assert_string_equal(config.toggles[TOGGLE_MAP], "unsafe");
    assert_int_equal(config.toggle_origins[TOGGLE_MAP], VALUE_FROM_OPTION);
    assert_int_equal(config.toggle_origins[TOGGLE_QUERY], VALUE_FROM_OPTION);
    assert_int_equal(config.toggle_origins[TOGGLE_RELEASE], VALUE_FROM_DEFAULT);
    assert_int_equal(read_option(&config, "--map", "none"), OPTIONS_EXIT_USAGE);
    assert_one_line(err.text);
    assert_non_null(strstr(err.text, "--map"));
}

/* For each option, the two ends of its range, and the first values beyond them. */
static void test_the_ranges_of_the_options(void **state)
{
    static const char *const cases[][5] = {
        {"--pool-size", "1", "1000", "0", "1001"},
        {"--pool-min", "0", "1000", "-1", "1001"},
        {"--pool-max-connecting", "1", "100", "0", "101"},
        {"--pool-max-idle-ms", "0", "86400000", "-1", "86400001"},
        {"--pool-max-lifetime-ms", "0", "86400000", "-1", "86400001"},
        {"--pool-prove-idle-ms", "0", "86400000", "-1", "86400001"},
        {"--max-waiters", "0", "1000000", "-1", "1000001"},
        {"--request-timeout-ms", "1", "600000", "0", "600001"},
        {"--checkout-timeout-ms", "0", "600000", "-1", "600001"},
        {"--query-latency-ms", "0", "60000", "-0.1", "60000.1"},
        {"--items", "1", "1000", "0", "1001"},
        {"--max-connections", "1", "30000", "0", "30001"},
        {"--max-threads", "1", "30000", "0", "30001"},
        {"--thread-stack-kib", "64", "8192", "63", "8193"},
        {"--fan-out-limit", "1", "1000", "0", "1001"},
        {"--pool-events", "0", "1048576", "-1", "1048577"},
        {"--drain-delay-ms", "0", "60000", "-1", "60001"},
        {"--map-window-us", "0", "1000000", "-1", "1000001"},
    };
    struct config config;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t value = 1; value < 5; value++) {
            enum options_outcome expected = value <= 2 ? OPTIONS_RUN : OPTIONS_EXIT_USAGE;
            if (read_option(&config, cases[i][0], cases[i][value]) != expected)
                fail_msg("%s %s was %s", cases[i][0], cases[i][value],
                         expected == OPTIONS_RUN ? "refused" : "taken");
            if (expected == OPTIONS_RUN)
                continue;
            assert_one_line(err.text);
            assert_non_null(strstr(err.text, cases[i][0]));
        }
}

static void test_commands_are_left_to_the_caller(void **state)
{
    char words[][20] = {"service", "toggle", "--pool-size=7", "map=mutex"};
    char *argv[] = {words[0], words[1], words[2], words[3], NULL};
    struct config config;
    int positional_count;
    (void)state;
    assert_int_equal(read_into(&config, &positional_count, argv), OPTIONS_RUN);
    assert_int_equal(positional_count, 2);
    assert_string_equal(argv[1], "toggle");
    assert_string_equal(argv[2], "map=mutex");
    assert_int_equal(config.pool_size, 7);
}

static void test_help_names_commands_and_options(void **state)
{
    static const char *const named[] = {"service toggle", "service healthcheck",
                                        "--listen",       "--map-window-us",
                                        "--query",        "--cancel"};
    struct config config;
    (void)state;
    assert_int_equal(read_option(&config, "--help", NULL), OPTIONS_EXIT_OK);
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        assert_non_null(strstr(out.text, named[i]));
    assert_string_equal(err.text, "");
}

/* ---- the database's address -------------------------------------------------------------------
 */

static void test_the_pool_is_named_after_its_database(void **state)
{
    static const char *const cases[][2] = {
        {"host=db port=6432 user=x", "db:6432"},
        {"postgresql://u:p@db.example:7/x", "db.example:7"},
        {"postgresql://[::1]:7/x", "::1:7"},
        {"host=/run/postgresql", "/run/postgresql:5432"},
        {"dbname=x", "localhost:5432"},
        {"host='' port=''", "localhost:5432"},
    };
    struct config config;
    (void)state;
    assert_int_equal(read_option(&config, NULL, NULL), OPTIONS_RUN);
    assert_string_equal(config.pool_name, "localhost:5432");
    assert_null(config.database_url);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(read_option(&config, "--database-url", cases[i][0]), OPTIONS_RUN);
        assert_string_equal(config.pool_name, cases[i][1]);
    }
}

static void test_libpqs_variables_count_where_the_option_says_nothing(void **state)
{
    struct config bare, half;
    (void)state;
    setenv("PGHOST", "elsewhere", 1);
    setenv("PGPORT", "99", 1);
    enum options_outcome first = read_option(&bare, NULL, NULL);
    enum options_outcome second = read_option(&half, "--database-url", "host=db");
    unsetenv("PGHOST");
    unsetenv("PGPORT");
    assert_int_equal(first, OPTIONS_RUN);
    assert_string_equal(bare.pool_name, "elsewhere:99");
    assert_int_equal(second, OPTIONS_RUN);
    assert_string_equal(half.pool_name, "db:99");
}

static void test_what_is_no_conninfo_is_refused(void **state)
{
    static const char *const options[] = {"--database-url", "--control-database-url"};
    static const char *const wrong[] = {"hots=db", "host", "postgresql://[::1/x", "host='db"};
    struct config config;
    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < sizeof wrong / sizeof wrong[0]; j++) {
            char start[64];
            snprintf(start, sizeof start, "service: %s: ", options[i]);
            if (read_option(&config, options[i], wrong[j]) != OPTIONS_EXIT_USAGE)
                fail_msg("%s %s was taken", options[i], wrong[j]);
            assert_one_line(err.text);
            assert_memory_equal(err.text, start, strlen(start));
        }
}

/* ---- what serving needs -----------------------------------------------------------------------
 */

static void test_serving_needs_addresses(void **state)
{
    static const char *const options[] = {"--listen", "--admin-listen"};
    static const char *const wrong[] = {"8080", "127.0.0.1:65536", "127.0.0.1:http", "::1:80", ""};
    struct config config;
    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < sizeof wrong / sizeof wrong[0]; j++) {
            char option[64];
            snprintf(option, sizeof option, "%s=%s", options[i], wrong[j]);
            assert_int_equal(read_option(&config, option, NULL), OPTIONS_RUN);
            if (check_serving(&config))
                fail_msg("%s was taken", option);
            assert_one_line(err.text);
            assert_non_null(strstr(err.text, options[i]));
        }
    assert_int_equal(read_option(&config, NULL, NULL), OPTIONS_RUN);
    assert_true(check_serving(&config));
    assert_null(config.admin_token);
}

static void test_an_admin_port_that_others_reach_needs_a_token(void **state)
{
    char path[] = "/tmp/flashover-token-XXXXXX";
    int fd = mkstemp(path);
    struct config config;
    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "secret\nmore\n", 12), 12);
    close(fd);
    assert_int_equal(read_option(&config, "--admin-listen", "[::1]:0"), OPTIONS_RUN);
    assert_true(check_serving(&config));
    assert_int_equal(read_option(&config, "--admin-listen", "0.0.0.0:8081"), OPTIONS_RUN);
    assert_false(check_serving(&config));
    assert_one_line(err.text);
    assert_non_null(strstr(err.text, "--admin-token-file is required"));
    assert_int_equal(
        read_arguments(&config, "--admin-listen", "0.0.0.0:8081", "--admin-token-file", path),
        OPTIONS_RUN);
    assert_true(check_serving(&config));
    assert_string_equal(config.admin_token, "secret");
    assert_int_equal(unlink(path), 0);
    assert_false(check_serving(&config)); /* the file is missing now */
    assert_one_line(err.text);
    assert_non_null(strstr(err.text, path));
    assert_null(config.admin_token);
}

static void test_no_more_is_kept_open_than_may_be(void **state)
{
    struct config config;
    (void)state;
    assert_int_equal(read_arguments(&config, "--pool-size", "3", "--pool-min", "3"), OPTIONS_RUN);
    assert_true(check_serving(&config));
    assert_int_equal(read_arguments(&config, "--pool-size", "3", "--pool-min", "4"), OPTIONS_RUN);
    assert_false(check_serving(&config));
    assert_one_line(err.text);
    assert_non_null(strstr(err.text, "--pool-min: '4' is not in the range 0..3"));
}

static void test_the_pools_bounds_are_the_options(void **state)
{
    char words[][30] = {"service",
                        "--pool-size=7",
                        "--pool-min=3",
                        "--pool-max-connecting=5",
                        "--pool-max-idle-ms=11",
                        "--pool-max-lifetime-ms=12",
                        "--pool-prove-idle-ms=13",
                        "--max-waiters=14",
                        "--checkout-timeout-ms=15",
                        "--pool-events=16"};
    enum { WORDS = sizeof words / sizeof words[0] };
    char *argv[WORDS + 1] = {NULL};
    struct config config;
    int positional_count;
    (void)state;
    for (size_t i = 0; i < WORDS; i++)
        argv[i] = words[i];
    assert_int_equal(read_into(&config, &positional_count, argv), OPTIONS_RUN);
    struct db_pool_config pool = config_pool(&config);
    assert_ptr_equal(pool.address, config.pool_name);
    assert_int_equal(pool.max_size, 7);
    assert_int_equal(pool.min_size, 3);
    assert_int_equal(pool.max_connecting, 5);
    assert_int_equal(pool.max_idle_ns, 11 * CLOCK_NS_PER_MS);
    assert_int_equal(pool.max_lifetime_ns, 12 * CLOCK_NS_PER_MS);
    assert_int_equal(pool.prove_after_idle_ns, 13 * CLOCK_NS_PER_MS);
    assert_int_equal(pool.max_waiters, 14);
    assert_int_equal(pool.wait_queue_timeout_ns, 15 * CLOCK_NS_PER_MS);
    assert_int_equal(pool.recorder_events, 16);
    /* nothing else makes the pool ready again */
    assert_ptr_equal(pool.policy, &db_pool_policy_autonomous);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_toggle_is_healthy_by_default),
        cmocka_unit_test(test_a_toggle_that_is_given_is_an_options),
        cmocka_unit_test(test_the_ranges_of_the_options),
        cmocka_unit_test(test_commands_are_left_to_the_caller),
        cmocka_unit_test(test_help_names_commands_and_options),
        cmocka_unit_test(test_the_pool_is_named_after_its_database),
        cmocka_unit_test(test_libpqs_variables_count_where_the_option_says_nothing),
        cmocka_unit_test(test_what_is_no_conninfo_is_refused),
        cmocka_unit_test(test_serving_needs_addresses),
        cmocka_unit_test(test_an_admin_port_that_others_reach_needs_a_token),
        cmocka_unit_test(test_no_more_is_kept_open_than_may_be),
        cmocka_unit_test(test_the_pools_bounds_are_the_options),
    };
    /* the settings of the machine's user must not matter */
    static const char *const variables[] = {"PGHOST", "PGPORT", "PGSERVICE", "PGHOSTADDR"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
