#include "loadtest/command.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/options.h"
#include "loadtest/load_run.h"
#include "loadtest/verdict.h"

static const char usage[] =
    "usage: loadtest COMMAND [OPTIONS]\n"
    "\n"
    "  run      sends one load at a fixed rate and says what came back\n"
    "  matrix   sets the fire off and puts it out: four runs, bug and fix of query and map\n"
    "\n"
    "loadtest COMMAND --help lists its options.\n"
    "exit: 0 pass, 1 trouble, 2 usage, 99 failed, 105 stopped by a signal\n";

int command_dispatch(int argc, char **argv, struct stop *stop)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "run") == 0)
        return command_run(argc - 1, argv + 1, stop);
    if (strcmp(name, "matrix") == 0)
        return command_matrix(argc - 1, argv + 1, stop);
    if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
        fputs(usage, stdout);
        return EXIT_PASS;
    }
    if (strcmp(name, "--version") == 0) {
        printf("loadtest %s\n", options_version);
        return EXIT_PASS;
    }
    if (*name)
        fprintf(stderr, "loadtest: unknown command '%s' (run|matrix; see --help)\n", name);
    else
        fputs("loadtest: a command is missing (run|matrix; see --help)\n", stderr);
    return EXIT_USAGE;
}

int command_settings(const char *program, const struct command_load_options *options,
                     struct load_settings *settings)
{
    char why[512];
    *settings = (struct load_settings){
        .timeout_ns = (int64_t)(options->timeout_s * (double)CLOCK_NS_PER_S),
        .max_in_flight = (uint64_t)options->max_in_flight,
        .threads = (unsigned)options->threads,
        .items = (uint32_t)options->items,
    };
    if (target_parse(&settings->target, options->url, why, sizeof why)) {
        fprintf(stderr, "%s: --url: '%s' %s\n", program, options->url, why);
        return EXIT_USAGE;
    }
    if (options->rate_per_s * options->duration_s < 1) {
        fprintf(stderr, "%s: --duration: '%g' at --rate %g is less than one request\n", program,
                options->duration_s, options->rate_per_s);
        return EXIT_USAGE;
    }
    bool wants_feed = strcmp(options->check, "feed") == 0;
    if (wants_feed && !settings->target.has_feed) {
        fprintf(stderr, "%s: --check: 'feed' needs {feed} in --url, or else status\n", program);
        return EXIT_USAGE;
    }
    if (settings->target.has_feed && strcmp(options->check, "status") != 0)
        settings->check = LOAD_CHECK_FEED;
    if (settings->target.items)
        settings->items = settings->target.items;
    schedule_init(&settings->schedule, options->rate_per_s, options->duration_s,
                  (uint64_t)options->seed);
    if (target_resolve(&settings->target, why, sizeof why)) {
        fprintf(stderr, "%s: --url: %s\n", program, why);
        return EXIT_TROUBLE;
    }
    uint64_t descriptors = load_run_raise_descriptors();
    if (descriptors < settings->max_in_flight + 64)
        fprintf(stderr,
                "%s: only %llu descriptors (ulimit -n) for --max-in-flight %llu: requests beyond "
                "will be counted as refused\n",
                program, (unsigned long long)descriptors,
                (unsigned long long)settings->max_in_flight);
    return EXIT_PASS;
}
