/*
 * Arguments of a program. What is accepted is in range and of its kind; what is refused has one
 * line that says why. Input: the arguments, a line feed between them.
 */
#include "common/options.h"

#include "tests/fuzz/input.h"

#include <ctype.h>
#include <math.h>

enum { ARGUMENTS_MAX = 64 };

struct values {
    int64_t integer;
    double real, duration_s;
    const char *text, *choice, *none;
    struct option_list list;
};

/* Cuts a text at its line feeds. */
static int split(char *text, char *argv[ARGUMENTS_MAX + 1])
{
    static char program[] = "fuzzed";
    int argc = 0;
    argv[argc++] = program;
    for (char *at = text; at && argc < ARGUMENTS_MAX;) {
        argv[argc++] = at;
        at = strchr(at, '\n');
        if (at)
            *at++ = '\0';
    }
    argv[argc] = NULL;
    return argc;
}

static void check_values(const struct values *values, int argc, int positional_count)
{
    assert(values->integer >= -5 && values->integer <= 1000);
    assert(isfinite(values->real) && values->real >= 0.01 && values->real <= 1e6);
    assert(isfinite(values->duration_s) && values->duration_s >= 0 && values->duration_s <= 3600);
    assert(strcmp(values->choice, "one") == 0 || strcmp(values->choice, "other") == 0);
    assert(strcmp(values->text, "fallback") == 0 || strlen(values->text) <= 4096);
    assert(!values->none || strlen(values->none) <= 4096);
    assert(values->list.count <= OPTION_LIST_MAX);
    for (size_t i = 0; i < values->list.count; i++)
        assert(strlen(values->list.values[i]) <= 4096);
    assert(positional_count >= 0 && positional_count < argc);
}

/* One line, which can be shown in a terminal. */
static void check_line(const char *said, size_t size)
{
    assert(size > 1 && said[size - 1] == '\n');
    assert(memchr(said, '\n', size - 1) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    struct values values = {0};
    struct option table[] = {
        {"integer", OPTION_INTEGER, &values.integer, "7", -5, 1000, NULL, "N", "a number", 0},
        {"real", OPTION_REAL, &values.real, "1", 0.01, 1e6, NULL, "X", "a number", 0},
        {"duration", OPTION_DURATION, &values.duration_s, "2m", 0, 3600, NULL, "T", "a time", 0},
        {"text", OPTION_TEXT, &values.text, "fallback", 0, 0, NULL, "TEXT", "a text", 0},
        {"none", OPTION_TEXT, &values.none, NULL, 0, 0, NULL, "TEXT", "a text", 0},
        {"choice", OPTION_CHOICE, &values.choice, "one", 0, 0, "one|other", "WHICH", "a word", 0},
        {"list", OPTION_LIST, &values.list, NULL, 0, 0, NULL, "TEXT", "several texts", 0},
    };
    const struct options_program program = {
        .name = "fuzzed", .usage = "fuzzed", .table = table, .count = sizeof table / sizeof *table};
    char *text = fuzz_string(&input);
    char *argv[ARGUMENTS_MAX + 1];
    char *said[2] = {NULL, NULL};
    size_t sizes[2];
    int argc = split(text, argv);
    int positional_count = -1;
    FILE *out = open_memstream(&said[0], &sizes[0]);
    FILE *err = open_memstream(&said[1], &sizes[1]);
    assert(out && err);
    enum options_outcome outcome = options_parse(&program, argc, argv, &positional_count, out, err);
    fclose(out);
    fclose(err);
    assert((sizes[0] > 0) == (outcome == OPTIONS_EXIT_OK));
    if (outcome == OPTIONS_RUN)
        check_values(&values, argc, positional_count);
    else if (outcome == OPTIONS_EXIT_USAGE)
        check_line(said[1], sizes[1]);
    free(said[0]);
    free(said[1]);
    free(text);
    return 0;
}
