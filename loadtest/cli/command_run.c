#include "common/check.h"
#include "common/clock.h"
#include "common/option_row.h"
#include "common/options.h"
#include "loadtest/base/whole_file.h"
#include "loadtest/cli/command.h"
#include "loadtest/judge/verdict.h"
#include "loadtest/report/live_view.h"
#include "loadtest/report/report_html.h"
#include "loadtest/report/run_json.h"
#include "loadtest/report/run_report.h"

#define PROGRAM "loadtest run"
/* How long a service that is down at the end may take to come back, to be seen as restarted. */
#define SETTLE_NS (5 * CLOCK_NS_PER_S)

struct run_options {
    struct load_options load;
    const char *json_path;
    const char *html_path;
};

static bool parse(int argc, char **argv, struct run_options *options, enum exit_code *status)
{
    struct option table[LOAD_OPTIONS_MAX + 2];
    size_t count = load_options_table(&options->load, LOAD_OPTIONS_RUN, table);
    table[count++] = (struct option)JSON_ROW(&options->json_path);
    table[count++] = (struct option)TEXT_ROW("html", &options->html_path, NULL, "FILE",
                                             "and as one HTML page with charts");
    const struct options_program program = {
        .name = PROGRAM,
        .usage = "usage: loadtest run [OPTIONS]\n\nSends requests at a given rate, whatever the "
                 "service does, and accounts for each of them.\nWithout --slo it passes when "
                 "nothing was wrong and 99.9 % right.",
        .table = table,
        .count = count};
    return command_parse(&program, argc, argv, status);
}

/* The result as files, where such were asked for. False, with a line on stderr, when one failed. */
static bool write_files(const struct run_options *options, const json_t *root)
{
    char why[512];
    bool written = true;
    if (options->json_path &&
        !run_json_write_file(options->json_path, 0644, root, why, sizeof why)) {
        fprintf(stderr, PROGRAM ": --json: %s\n", why);
        written = false;
    }
    if (!options->html_path)
        return written;
    struct text page = {0};
    report_html_write(&page, root);
    if (page.failed)
        snprintf(why, sizeof why, "out of memory");
    if (page.failed ||
        !whole_file_write(options->html_path, 0644, page.data, page.size_bytes, why, sizeof why)) {
        fprintf(stderr, PROGRAM ": --html: %s\n", why);
        written = false;
    }
    text_clear(&page);
    return written;
}

static enum exit_code report(const struct run_options *options, const struct test_plan *plan,
                             const struct load_result *result)
{
    struct text out = {0};
    run_report_write(&out, plan, result);
    fwrite(out.data, 1, out.size_bytes, stdout);
    bool failed = out.failed || fflush(stdout) != 0;
    text_clear(&out);
    if (options->json_path || options->html_path) {
        json_t *root = run_json_build(plan, result);
        if (!root)
            fprintf(stderr, PROGRAM ": out of memory for --json and --html\n");
        failed = !root || !write_files(options, root) || failed;
        json_decref(root);
    }
    return failed ? EXIT_TROUBLE : verdict_exit_code(result, plan);
}

enum exit_code command_run(int argc, char **argv, struct stop *stop)
{
    struct run_options options = {0};
    struct test_plan plan;
    struct load_result result;
    char why[512];
    enum exit_code status;
    if (!parse(argc, argv, &options, &status))
        return status;
    status = command_plan(PROGRAM, &options.load, &plan);
    if (status != EXIT_PASS)
        return status;
    if (!command_try_file(PROGRAM, "--json", options.json_path) ||
        !command_try_file(PROGRAM, "--html", options.html_path))
        return EXIT_TROUBLE;
    if (!target_accepts(&plan.load.target))
        fprintf(stderr,
                PROGRAM
                ": nobody accepts connections at %s, and until somebody does, every request "
                "fails. `make up` starts a lab; --url says where it is; Ctrl-C ends the "
                "run.\n",
                plan.load.target.base);
    struct scrape *scrape = NULL;
    if (options.load.admin_url) {
        scrape = scrape_start(options.load.admin_url, options.load.admin_token_file, stop, why,
                              sizeof why);
        if (!scrape) {
            fprintf(stderr, PROGRAM ": --admin-url: %s\n", why);
            return EXIT_TROUBLE;
        }
    }
    struct live_view view;
    struct load_watch watch = live_view_watch(&view, "");
    bool done =
        load_run_execute(&plan.load, scrape, SETTLE_NS, stop, &watch, &result, why, sizeof why);
    live_view_clear(&view);
    if (!done) {
        fprintf(stderr, PROGRAM ": %s\n", why);
        return EXIT_TROUBLE;
    }
    status = report(&options, &plan, &result);
    load_result_free(&result);
    return status;
}
