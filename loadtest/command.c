#include "loadtest/command.h"

#include "common/check.h"
#include "common/options.h"
#include "loadtest/load_run.h"
#include "loadtest/run_json.h"
#include "loadtest/verdict.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv, struct stop *stop);
    const char *help;
} commands[] = {
    {"run", command_run, "sends one load and says what came back"},
    {"matrix", command_matrix,
     "sets the fire off and puts it out: four runs, bug and fix of query and map"},
    {"capacity", command_capacity, "finds the rate up to which the service keeps its thresholds"},
    {"serve", command_serve, "runs loads that are asked for over HTTP"},
    {"selftest", command_selftest,
     "does the load tester tell the truth? truth tests against a server of its own"},
};

#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_usage(void)
{
    fputs("usage: loadtest COMMAND [OPTIONS]\n\n", stdout);
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  %-9s %s\n", commands[i].name, commands[i].help);
    fputs("\nloadtest COMMAND --help lists its options.\n"
          "exit: 0 pass, 1 trouble, 2 usage, 99 failed, 105 stopped by a signal,\n"
          "106 serve cannot listen, 111 invalid\n",
          stdout);
}

static int refuse(const char *name)
{
    if (*name)
        fprintf(stderr, "loadtest: unknown command '%s' (", name);
    else
        fputs("loadtest: a command is missing (", stderr);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(stderr, "%s%s", i > 0 ? "|" : "", commands[i].name);
    fputs("; see --help)\n", stderr);
    return EXIT_USAGE;
}

int command_dispatch(int argc, char **argv, struct stop *stop)
{
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1, stop);
    if (strcmp(name, "--version") == 0) {
        printf("loadtest %s\n", options_version);
        return EXIT_PASS;
    }
    if (strcmp(name, "--help") != 0 && strcmp(name, "help") != 0)
        return refuse(name);
    print_usage();
    return EXIT_PASS;
}

bool command_parse(const struct options_program *program, int argc, char **argv, int *status)
{
    int positional_count;
    enum options_outcome outcome =
        options_parse(program, argc, argv, &positional_count, stdout, stderr);
    *status = outcome == OPTIONS_EXIT_OK ? EXIT_PASS : EXIT_USAGE;
    if (outcome == OPTIONS_RUN && positional_count == 0)
        return true;
    if (outcome == OPTIONS_RUN)
        fprintf(stderr, "%s: unexpected '%s' (see --help)\n", program->name, argv[1]);
    return false;
}

int command_report(const char *program, struct text *report, const char *json_path, json_t *json)
{
    char why[512];
    fwrite(report->data, 1, report->size_bytes, stdout);
    int failed = report->failed || fflush(stdout) != 0 ? -1 : 0;
    text_clear(report);
    if (json_path && (!json || run_json_write_file(json_path, json, why, sizeof why))) {
        fprintf(stderr, "%s: --json: %s\n", program, json ? why : "out of memory");
        failed = -1;
    }
    json_decref(json);
    return failed;
}

int command_settings(const char *program, const struct load_options *options,
                     struct load_settings *settings)
{
    char why[512];
    enum exit_code code = load_options_resolve(options, settings, why, sizeof why);
    if (code != EXIT_PASS) {
        fprintf(stderr, "%s: %s\n", program, why);
        return code;
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
