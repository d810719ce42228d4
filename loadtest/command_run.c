#include "common/check.h"
#include "common/clock.h"
#include "common/options.h"
#include "loadtest/command.h"
#include "loadtest/load_run.h"
#include "loadtest/run_json.h"
#include "loadtest/run_report.h"
#include "loadtest/verdict.h"

#define PROGRAM "loadtest run"
/* How long a service that is down at the end may take to come back, to be seen as restarted. */
#define SETTLE_NS (5 * CLOCK_NS_PER_S)

struct run_options {
    struct command_load_options load;
    const char *admin_url;
    const char *admin_token_file;
    const char *json_path;
};

static enum options_outcome parse(int argc, char **argv, struct run_options *options)
{
    struct option table[] = {
        COMMAND_URL_ROW(options->load),
        COMMAND_RATE_ROW(options->load),
        {.name = "duration",
         .kind = OPTION_DURATION,
         .value = &options->load.duration_s,
         .fallback = "10",
         .min = 0.001,
         .max = 86400,
         .argument = "TIME",
         .help = "how long requests are sent"},
        COMMAND_TIMEOUT_ROW(options->load),
        COMMAND_IN_FLIGHT_ROW(options->load),
        COMMAND_THREADS_ROW(options->load),
        COMMAND_SEED_ROW(options->load),
        {.name = "check",
         .kind = OPTION_CHOICE,
         .value = &options->load.check,
         .fallback = "auto",
         .choices = "auto|feed|status",
         .argument = "WHAT",
         .help = "each entry of each answer, or its status; auto: feed where the URL has {feed}"},
        COMMAND_ITEMS_ROW(options->load),
        {.name = "admin-url",
         .kind = OPTION_TEXT,
         .value = &options->admin_url,
         .argument = "URL",
         .help = "the service's admin port, for /metrics: crashes, pool"},
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
        .usage = "usage: loadtest run [OPTIONS]\n\nSends requests at a fixed rate, whatever the "
                 "service does, and accounts for each of them.",
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

static int report(const struct run_options *options, const struct load_settings *settings,
                  const struct load_result *result)
{
    char why[512];
    struct text out = {0};
    run_report_write(&out, settings, result);
    fwrite(out.data, 1, out.size_bytes, stdout);
    bool failed = out.failed || fflush(stdout) != 0;
    text_clear(&out);
    if (options->json_path) {
        json_t *root = run_json_build(settings, result);
        if (!root || run_json_write_file(options->json_path, root, why, sizeof why)) {
            fprintf(stderr, PROGRAM ": --json: %s\n", root ? why : "out of memory");
            failed = true;
        }
        json_decref(root);
    }
    return failed ? EXIT_TROUBLE : (int)verdict_exit_code(result);
}

int command_run(int argc, char **argv, struct stop *stop)
{
    struct run_options options = {0};
    struct load_settings settings;
    struct load_result result;
    char why[512];
    enum options_outcome outcome = parse(argc, argv, &options);
    if (outcome != OPTIONS_RUN)
        return outcome == OPTIONS_EXIT_OK ? EXIT_PASS : EXIT_USAGE;
    int status = command_settings(PROGRAM, &options.load, &settings);
    if (status != EXIT_PASS)
        return status;
    struct scrape *scrape = NULL;
    if (options.admin_url) {
        scrape = scrape_start(options.admin_url, options.admin_token_file, stop, why, sizeof why);
        if (!scrape) {
            fprintf(stderr, PROGRAM ": --admin-url: %s\n", why);
            return EXIT_TROUBLE;
        }
    }
    struct load_view view = load_run_view("");
    if (load_run_execute(&settings, scrape, SETTLE_NS, stop, &view, &result, why, sizeof why)) {
        fprintf(stderr, PROGRAM ": %s\n", why);
        return EXIT_TROUBLE;
    }
    status = report(&options, &settings, &result);
    load_result_free(&result);
    return status;
}
