#include "common/check.h"
#include "common/clock.h"
#include "common/options.h"
#include "loadtest/command.h"
#include "loadtest/matrix.h"
#include "loadtest/matrix_report.h"
#include "loadtest/run_json.h"
#include "loadtest/verdict.h"

#define PROGRAM "loadtest matrix"

struct matrix_options {
    struct command_load_options load;
    const char *admin_url;
    const char *admin_token_file;
    const char *json_path;
};

static enum options_outcome parse(int argc, char **argv, struct matrix_options *options)
{
    struct option table[] = {
        COMMAND_URL_ROW(options->load),
        COMMAND_RATE_ROW(options->load),
        {.name = "cell-duration",
         .kind = OPTION_DURATION,
         .value = &options->load.duration_s,
         .fallback = "10",
         .min = 0.1,
         .max = 3600,
         .argument = "TIME",
         .help = "how long requests are sent in each cell"},
        COMMAND_TIMEOUT_ROW(options->load),
        COMMAND_IN_FLIGHT_ROW(options->load),
        COMMAND_THREADS_ROW(options->load),
        COMMAND_SEED_ROW(options->load),
        COMMAND_ITEMS_ROW(options->load),
        {.name = "admin-url",
         .kind = OPTION_TEXT,
         .value = &options->admin_url,
         .fallback = "http://127.0.0.1:8081",
         .argument = "URL",
         .help = "the service's admin port: toggles, /metrics"},
        {.name = "admin-token-file",
         .kind = OPTION_TEXT,
         .value = &options->admin_token_file,
         .argument = "FILE",
         .help = "its bearer token"},
        {.name = "json",
         .kind = OPTION_TEXT,
         .value = &options->json_path,
         .argument = "FILE",
         .help = "where the result goes as JSON, too"},
    };
    const struct options_program program = {
        .name = PROGRAM,
        .usage = "usage: loadtest matrix [OPTIONS]\n\nSends the same load to the service four "
                 "times: query per_item and batched, map unsafe and mutex.\nSets the toggles for "
                 "each and puts them back. Exits with 0 if each run comes out as it must.",
        .table = table,
        .count = sizeof table / sizeof table[0]};
    int positional_count;
    enum options_outcome outcome =
        options_parse(&program, argc, argv, &positional_count, stdout, stderr);
    if (outcome == OPTIONS_RUN && positional_count > 0) {
        fprintf(stderr, PROGRAM ": unexpected '%s' (see --help)\n", argv[1]);
        return OPTIONS_EXIT_USAGE;
    }
    return outcome;
}

/* Prints the report and writes the file. Returns 0, or -1 when either could not be done. */
static int report(const struct matrix_options *options, const struct matrix *matrix)
{
    char why[512];
    struct text out = {0};
    int failed = 0;
    matrix_report_write(&out, matrix);
    fwrite(out.data, 1, out.size_bytes, stdout);
    if (out.failed || fflush(stdout) != 0)
        failed = -1;
    text_clear(&out);
    if (!options->json_path)
        return failed;
    json_t *root = matrix_report_json(matrix);
    if (!root || run_json_write_file(options->json_path, root, why, sizeof why)) {
        fprintf(stderr, PROGRAM ": --json: %s\n", root ? why : "out of memory");
        failed = -1;
    }
    json_decref(root);
    return failed;
}

int command_matrix(int argc, char **argv, struct stop *stop)
{
    struct matrix_options options = {.load.check = "feed"};
    struct matrix matrix = {0};
    char why[512];
    enum options_outcome outcome = parse(argc, argv, &options);
    if (outcome != OPTIONS_RUN)
        return outcome == OPTIONS_EXIT_OK ? EXIT_PASS : EXIT_USAGE;
    int status = command_settings(PROGRAM, &options.load, &matrix.settings);
    if (status != EXIT_PASS)
        return status;
    matrix.admin_url = options.admin_url;
    matrix.admin_token_file = options.admin_token_file;
    int failed = matrix_run(&matrix, stop, why, sizeof why);
    if (failed)
        fprintf(stderr, PROGRAM ": %s\n", why);
    if (matrix.cells[0].done && report(&options, &matrix))
        status = EXIT_TROUBLE;
    else if (stop_requested(stop))
        status = EXIT_SIGNAL;
    else if (failed)
        status = EXIT_TROUBLE;
    else
        status = matrix_report_passed(&matrix) ? EXIT_PASS : EXIT_THRESHOLD;
    matrix_free(&matrix);
    return status;
}
