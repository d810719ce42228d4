/* Options: the sources of values, and refusals, each of which names option, value and range. */
#include "tests/support/support.h"

#include "common/options.h"

struct values {
    int64_t size;
    double rate, wait_s;
    const char *file, *map;
};

static char said[1024]; /* on standard error */

static void fill(struct values *values, struct option table[5])
{
    const struct option options[5] = {
        {.name = "pool-size",
         .kind = OPTION_INTEGER,
         .value = &values->size,
         .fallback = "20",
         .min = 1,
         .max = 1000,
         .argument = "N",
         .help = "size"},
        {.name = "rate",
         .kind = OPTION_REAL,
         .value = &values->rate,
         .fallback = "2.5",
         .min = 0.5,
         .max = 10,
         .argument = "N",
         .help = "rate"},
        {.name = "wait",
         .kind = OPTION_DURATION,
         .value = &values->wait_s,
         .fallback = "10",
         .min = 0.01,
         .max = 7200,
         .argument = "TIME",
         .help = "wait"},
        {.name = "file",
         .kind = OPTION_TEXT,
         .value = &values->file,
         .argument = "FILE",
         .help = "file"},
        {.name = "map",
         .kind = OPTION_CHOICE,
         .value = &values->map,
         .fallback = "mutex",
         .choices = "mutex|unsafe",
         .argument = "VALUE",
         .help = "map"},
    };
    memcpy(table, options, sizeof options);
}

/* Parses up to six arguments. */
static enum options_outcome parse(struct values *values, struct option table[5],
                                  const char *const *arguments, int *positional_count, char **argv)
{
    int argc = 1;
    argv[0] = (char *)(uintptr_t) "test";
    for (; *arguments; arguments++)
        argv[argc++] = (char *)(uintptr_t)*arguments;
    fill(values, table);
    const struct options_program program = {"test", "usage", table, 5};
    FILE *err = fmemopen(said, sizeof said, "w");
    FILE *out = fopen("/dev/null", "we");
    assert_non_null(err);
    assert_non_null(out);
    memset(said, 0, sizeof said);
    enum options_outcome outcome = options_parse(&program, argc, argv, positional_count, out, err);
    fclose(err);
    fclose(out);
    return outcome;
}

#define PARSE(...)                                                                                 \
    struct values values;                                                                          \
    struct option table[5];                                                                        \
    char *argv[8];                                                                                 \
    int positional_count;                                                                          \
    enum options_outcome outcome =                                                                 \
        parse(&values, table, (const char *const[]){__VA_ARGS__, NULL}, &positional_count, argv)

static void test_defaults(void **state)
{
    (void)state;
    PARSE(NULL);
    assert_int_equal(outcome, OPTIONS_RUN);
    assert_int_equal(values.size, 20);
    assert_true(values.rate == 2.5 && values.wait_s == 10);
    assert_null(values.file);
    assert_string_equal(values.map, "mutex");
    assert_int_equal(table[0].origin, OPTION_FROM_DEFAULT);
}

static void test_command_line_beats_environment(void **state)
{
    (void)state;
    setenv("FLASHOVER_POOL_SIZE", "7", 1);
    setenv("FLASHOVER_RATE", "3", 1);
    setenv("FLASHOVER_FILE", "", 1); /* empty counts as not set */
    PARSE("--pool-size", "9", "first", "--map=unsafe", "--", "--second");
    unsetenv("FLASHOVER_POOL_SIZE");
    unsetenv("FLASHOVER_RATE");
    unsetenv("FLASHOVER_FILE");
    assert_int_equal(outcome, OPTIONS_RUN);
    assert_int_equal(values.size, 9);
    assert_int_equal(table[0].origin, OPTION_FROM_COMMAND_LINE);
    assert_true(values.rate == 3);
    assert_int_equal(table[1].origin, OPTION_FROM_ENVIRONMENT);
    assert_null(values.file);
    assert_string_equal(values.map, "unsafe");
    assert_int_equal(positional_count, 2);
    assert_string_equal(argv[1], "first");
    assert_string_equal(argv[2], "--second");
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        double seconds;
    } cases[] = {{"2", 2}, {"1.5s", 1.5}, {"200ms", 0.2}, {"2m", 120}, {"1h", 3600}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        PARSE("--wait", cases[i].text);
        assert_int_equal(outcome, OPTIONS_RUN);
        assert_true(values.wait_s > cases[i].seconds - 1e-9 &&
                    values.wait_s < cases[i].seconds + 1e-9);
    }
}

static void test_wrong_values_are_named(void **state)
{
    static const char *const cases[][3] = {
        {"--pool-size", "0", "1..1000"},
        {"--pool-size", "1001", "1..1000"},
        {"--pool-size", "1e3", "1..1000"},
        {"--pool-size", " 5", "1..1000"},
        {"--pool-size", "", "1..1000"},
        {"--pool-size", "99999999999999999999", "1..1000"},
        {"--rate", "nan", "0.5..10"},
        {"--rate", "inf", "0.5..10"},
        {"--rate", "3x", "0.5..10"},
        {"--wait", "5 s", "0.01..7200"},
        {"--wait", "3h", "0.01..7200"},
        {"--wait", "10d", "0.01..7200"},
        {"--map", "none", "mutex|unsafe"},
        {"--map", "mut", "mutex|unsafe"},
        {"--map", "mutex|unsafe", "mutex|unsafe"},
        {"--map", "", "mutex|unsafe"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        PARSE(cases[i][0], cases[i][1]);
        char quoted[64];
        snprintf(quoted, sizeof quoted, "'%s'", cases[i][1]);
        if (outcome != OPTIONS_EXIT_USAGE)
            fail_msg("%s %s was taken", cases[i][0], cases[i][1]);
        assert_non_null(strstr(said, cases[i][0]));
        assert_non_null(strstr(said, quoted));
        assert_non_null(strstr(said, cases[i][2]));
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one line */
    }
}

static void test_unknown_and_missing(void **state)
{
    (void)state;
    {
        PARSE("--pool-sizes", "3");
        assert_int_equal(outcome, OPTIONS_EXIT_USAGE);
        assert_non_null(strstr(said, "--pool-sizes"));
    }
    {
        PARSE("--file");
        assert_int_equal(outcome, OPTIONS_EXIT_USAGE);
        assert_non_null(strstr(said, "--file needs a value"));
    }
    {
        setenv("FLASHOVER_MAP", "none", 1);
        PARSE(NULL);
        unsetenv("FLASHOVER_MAP");
        assert_int_equal(outcome, OPTIONS_EXIT_USAGE);
        assert_non_null(strstr(said, "FLASHOVER_MAP"));
    }
    {
        PARSE("--pool-size", "bad", "--help");
        assert_int_equal(outcome, OPTIONS_EXIT_OK);
    }
}

static void test_addresses(void **state)
{
    char host[256];
    uint16_t port;
    static const char *const wrong[] = {
        "",       "host",    ":80",   "host:", "host:x", "host:65536",     "h:-1",
        "::1:80", "[::1:80", "[]:80", "h: 80", "h:8 0",  "[localhost]:80", "[127.0.0.1]:80"};
    (void)state;
    assert_true(options_split_address("127.0.0.1:8080", host, sizeof host, &port));
    assert_string_equal(host, "127.0.0.1");
    assert_int_equal(port, 8080);
    assert_true(options_split_address("[::1]:0", host, sizeof host, &port));
    assert_string_equal(host, "::1");
    assert_int_equal(port, 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (options_split_address(wrong[i], host, sizeof host, &port))
            fail_msg("'%s' was taken", wrong[i]);
    assert_false(options_split_address("longer:1", host, 6, &port));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_command_line_beats_environment),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_wrong_values_are_named),
        cmocka_unit_test(test_unknown_and_missing),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
