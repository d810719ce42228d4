#include "loadtest/cli/command.h"
#include "common/check.h"
#include "common/option_row.h"
#include "loadtest/capacity/capacity.h"
#include "loadtest/capacity/report.h"

#define PROGRAM "loadtest capacity"

struct capacity_options {
    struct load_options load;
    double start_per_s;
    double max_per_s;
    double precision_percent;
    double confirm_s;
    const char *overload; /* "yes", "no" */
    const char *json_path;
};

static bool parse(int argc, char **argv, struct capacity_options *options, enum exit_code *status)
{
    const struct option own[] = {
        NUMBER_ROW(REAL, "start-rate", &options->start_per_s, "4", 0.1, 1e5, "N",
                   "requests per second of the first trial"),
        NUMBER_ROW(REAL, "max-rate", &options->max_per_s, "20000", 0.1, 1e5, "N",
                   "highest rate tried"),
        NUMBER_ROW(REAL, "precision", &options->precision_percent, "5", 1, 50, "PERCENT",
                   "how far the bounds may be apart"),
        NUMBER_ROW(DURATION, "confirm-duration", &options->confirm_s, "20", 5, 3600, "TIME",
                   "of the trials that confirm the lower bound"),
        CHOICE_ROW("overload", &options->overload, "yes", "yes|no", "WHETHER",
                   "go beyond the boundary, to see collapse and recovery"),
        JSON_ROW(&options->json_path)};
    struct option table[LOAD_OPTIONS_MAX + sizeof own / sizeof own[0]];
    size_t count = load_options_table(&options->load, LOAD_OPTIONS_CAPACITY, table);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        table[count++] = own[i];
    const struct options_program program = {
        .name = PROGRAM,
        .usage = "usage: loadtest capacity [OPTIONS]\n\nFinds the rate up to which the service "
                 "keeps to the thresholds (" CAPACITY_SLO " where none is\ngiven), then goes "
                 "beyond it and shows how it recovers. Exits with 0 if a sustainable rate was\n"
                 "found, with 99 if not even the first trial passed.",
        .table = table,
        .count = count};
    if (!command_parse(&program, argc, argv, status))
        return false;
    if (options->max_per_s >= options->start_per_s)
        return true;
    fprintf(stderr, PROGRAM ": --max-rate: '%g' is less than --start-rate %g\n", options->max_per_s,
            options->start_per_s);
    *status = EXIT_USAGE;
    return false;
}

/* False when the report could not be printed or the file not written. */
static bool report(const struct capacity_options *options, const struct capacity *capacity)
{
    struct text out = {0};
    capacity_report_write(&out, capacity);
    return command_report(PROGRAM, &out, options->json_path,
                          options->json_path ? capacity_report_json(capacity) : NULL);
}

enum exit_code command_capacity(int argc, char **argv, struct stop *stop)
{
    struct capacity_options options = {0};
    static struct capacity capacity; /* some 30 kB */
    char why[512];
    enum exit_code status;
    if (!parse(argc, argv, &options, &status))
        return status;
    if (options.load.slo.count == 0)
        options.load.slo = (struct option_list){.values = {CAPACITY_SLO}, .count = 1};
    status = command_plan(PROGRAM, &options.load, &capacity.plan);
    if (status != EXIT_PASS)
        return status;
    if (!command_try_file(PROGRAM, "--json", options.json_path))
        return EXIT_TROUBLE;
    capacity.admin_url = options.load.admin_url;
    capacity.admin_token_file = options.load.admin_token_file;
    capacity.start_per_s = options.start_per_s;
    capacity.max_per_s = options.max_per_s;
    capacity.precision = options.precision_percent / 100;
    capacity.confirm_s = options.confirm_s;
    capacity.overload = strcmp(options.overload, "yes") == 0;
    bool complete = capacity_run(&capacity, stop, why, sizeof why);
    if (!complete)
        fprintf(stderr, PROGRAM ": %s\n", why);
    if (capacity.trial_count > 0 && !report(&options, &capacity))
        return EXIT_TROUBLE;
    if (stop_requested(stop))
        return EXIT_SIGNAL;
    if (!complete)
        return capacity.invalid ? EXIT_INVALID : EXIT_TROUBLE;
    return capacity.sustainable.lower_per_s > 0 ? EXIT_PASS : EXIT_THRESHOLD;
}
