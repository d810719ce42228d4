#include "loadtest/cli/command.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Outlives every run: signal handlers point to it. */
static struct stop stop;

static const struct {
    const char *name;
    enum exit_code (*run)(int argc, char **argv, struct stop *stop);
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

static enum exit_code refuse(const char *name)
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

/* Runs the command that argv[1] names. */
static enum exit_code dispatch(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1, &stop);
    if (strcmp(name, "--version") == 0) {
        printf("loadtest %s\n", options_version);
        return EXIT_PASS;
    }
    if (strcmp(name, "--help") != 0 && strcmp(name, "help") != 0)
        return refuse(name);
    print_usage();
    return EXIT_PASS;
}

int main(int argc, char **argv)
{
    if (!stop_init(&stop) || curl_global_init(CURL_GLOBAL_DEFAULT)) {
        fputs("loadtest: cannot start: no descriptors or no memory\n", stderr);
        return EXIT_TROUBLE;
    }
    stop_on_signals(&stop);
    enum exit_code status = dispatch(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "loadtest: standard output: %s\n", strerror(errno));
        status = status == EXIT_PASS ? EXIT_TROUBLE : status;
    }
    curl_global_cleanup();
    stop_destroy(&stop);
    return (int)status;
}
