#include "loadtest/cli/command.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/option_row.h"
#include "common/options.h"
#include "loadtest/judge/verdict.h"
#include "loadtest/matrix/matrix.h"
#include "loadtest/matrix/report.h"

#define PROGRAM "loadtest matrix"

struct matrix_options {
    struct load_options load;
    const char *json_path;
};

static bool parse(int argc, char **argv, struct matrix_options *options, enum exit_code *status)
{
    struct option table[LOAD_OPTIONS_MAX + 2];
    size_t count = load_options_table(&options->load, LOAD_OPTIONS_MATRIX, table);
    for (size_t i = 0; i < count; i++)
        if (table[i].value == &options->load.admin_url)
            table[i].fallback = "http://127.0.0.1:8081"; /* needed here, for the toggles */
    table[count++] =
        (struct option)NUMBER_ROW(DURATION, "cell-duration", &options->load.duration_s, "10", 0.1,
                                  3600, "TIME", "how long requests are sent in each cell");
    table[count++] = (struct option)JSON_ROW(&options->json_path);
    const struct options_program program = {
        .name = PROGRAM,
        .usage = "usage: loadtest matrix [OPTIONS]\n\nSends the same load to the service four "
                 "times: query per_item and batched, map unsafe and mutex.\nSets the toggles for "
                 "each and puts them back. Exits with 0 if each run comes out as it must.",
        .table = table,
        .count = count};
    return command_parse(&program, argc, argv, status);
}

/* False when the report could not be printed or the file not written. */
static bool report(const struct matrix_options *options, const struct matrix *matrix)
{
    struct text out = {0};
    matrix_report_write(&out, matrix);
    return command_report(PROGRAM, &out, options->json_path,
                          options->json_path ? matrix_report_json(matrix) : NULL);
}

enum exit_code command_matrix(int argc, char **argv, struct stop *stop)
{
    struct matrix_options options = {0};
    struct matrix matrix = {0};
    char why[512];
    enum exit_code status;
    if (!parse(argc, argv, &options, &status))
        return status;
    options.load.check = "feed";
    status = command_plan(PROGRAM, &options.load, &matrix.plan);
    if (status != EXIT_PASS)
        return status;
    if (!command_try_file(PROGRAM, "--json", options.json_path))
        return EXIT_TROUBLE;
    matrix.admin_url = options.load.admin_url;
    matrix.admin_token_file = options.load.admin_token_file;
    bool complete = matrix_run(&matrix, stop, why, sizeof why);
    if (!complete)
        fprintf(stderr, PROGRAM ": %s\n", why);
    if (matrix.cells[0].done && !report(&options, &matrix))
        status = EXIT_TROUBLE;
    else if (stop_requested(stop))
        status = EXIT_SIGNAL;
    else if (!complete)
        status = EXIT_TROUBLE;
    else
        status = matrix_report_passed(&matrix) ? EXIT_PASS : EXIT_THRESHOLD;
    matrix_free(&matrix);
    return status;
}
