#include "common/check.h"
#include "loadtest/capacity.h"
#include "loadtest/capacity_report.h"
#include "loadtest/command.h"

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

static bool parse(int argc, char **argv, struct capacity_options *options, int *status)
{
    const struct option own[] = {{.name = "start-rate",
                                  .kind = OPTION_REAL,
                                  .value = &options->start_per_s,
                                  .fallback = "4",
                                  .min = 0.1,
                                  .max = 1e5,
                                  .argument = "N",
                                  .help = "requests per second of the first trial"},
                                 {.name = "max-rate",
                                  .kind = OPTION_REAL,
                                  .value = &options->max_per_s,
                                  .fallback = "20000",
                                  .min = 0.1,
                                  .max = 1e5,
                                  .argument = "N",
                                  .help = "what is never gone beyond"},
                                 {.name = "precision",
                                  .kind = OPTION_REAL,
                                  .value = &options->precision_percent,
                                  .fallback = "5",
                                  .min = 1,
                                  .max = 50,
                                  .argument = "PERCENT",
                                  .help = "how far the bounds may be apart"},
                                 {.name = "confirm-duration",
                                  .kind = OPTION_DURATION,
                                  .value = &options->confirm_s,
                                  .fallback = "20",
                                  .min = 5,
                                  .max = 3600,
                                  .argument = "TIME",
                                  .help = "of the trials that confirm the lower bound"},
                                 {.name = "overload",
                                  .kind = OPTION_CHOICE,
                                  .value = &options->overload,
                                  .fallback = "yes",
                                  .choices = "yes|no",
                                  .argument = "WHETHER",
                                  .help = "go beyond the boundary, to see collapse and recovery"},
                                 {.name = "json",
                                  .kind = OPTION_TEXT,
                                  .value = &options->json_path,
                                  .argument = "FILE",
                                  .help = "where the result goes as JSON, too"}};
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

/* Returns 0, or -1 when the report could not be printed or the file not written. */
static int report(const struct capacity_options *options, const struct capacity *capacity)
{
    struct text out = {0};
    capacity_report_write(&out, capacity);
    return command_report(PROGRAM, &out, options->json_path,
                          options->json_path ? capacity_report_json(capacity) : NULL);
}

int command_capacity(int argc, char **argv, struct stop *stop)
{
    struct capacity_options options = {0};
    static struct capacity capacity; /* some 30 kB */
    char why[512];
    int status;
    if (!parse(argc, argv, &options, &status))
        return status;
    if (options.load.slo.count == 0)
        options.load.slo = (struct option_list){.values = {CAPACITY_SLO}, .count = 1};
    status = command_settings(PROGRAM, &options.load, &capacity.settings);
    if (status != EXIT_PASS)
        return status;
    capacity.admin_url = options.load.admin_url;
    capacity.admin_token_file = options.load.admin_token_file;
    capacity.start_per_s = options.start_per_s;
    capacity.max_per_s = options.max_per_s;
    capacity.precision = options.precision_percent / 100;
    capacity.confirm_s = options.confirm_s;
    capacity.overload = strcmp(options.overload, "yes") == 0;
    int failed = capacity_run(&capacity, stop, why, sizeof why);
    if (failed)
        fprintf(stderr, PROGRAM ": %s\n", why);
    if (capacity.trial_count > 0 && report(&options, &capacity))
        return EXIT_TROUBLE;
    if (stop_requested(stop))
        return EXIT_SIGNAL;
    if (failed)
        return capacity.invalid ? EXIT_INVALID : EXIT_TROUBLE;
    return capacity.sustainable.lower_per_s > 0 ? EXIT_PASS : EXIT_THRESHOLD;
}
