/*
 * The subcommands of the load tester. Each takes its own argv (argv[0] is its name), prints its
 * report on stdout and everything else on stderr, and returns the exit status.
 */
#ifndef FLASHOVER_LOADTEST_COMMAND_H
#define FLASHOVER_LOADTEST_COMMAND_H

#include "common/text.h"
#include "loadtest/load_options.h"
#include "loadtest/stop.h"

#include <jansson.h>

/* Dispatches argv[1]. `stop` is what signals ask. */
int command_dispatch(int argc, char **argv, struct stop *stop);

int command_run(int argc, char **argv, struct stop *stop);
int command_matrix(int argc, char **argv, struct stop *stop);
int command_capacity(int argc, char **argv, struct stop *stop);
int command_selftest(int argc, char **argv, struct stop *stop);
int command_serve(int argc, char **argv, struct stop *stop);

/* Parses a command's arguments: EXIT_PASS when the command is to be run, else *status is what it
 * ends with. Commands have no positional arguments. */
bool command_parse(const struct options_program *program, int argc, char **argv, int *status);

/* Prints a report on stdout, clears it, and writes `json` (released; NULL: out of memory) to
 * json_path where that is not NULL, with one line on stderr when that fails. Returns 0, or -1. */
int command_report(const char *program, struct text *report, const char *json_path, json_t *json);

/* load_options_resolve(), with one line on stderr when that fails or descriptors are few. Returns
 * EXIT_PASS, or the exit status. */
int command_settings(const char *program, const struct load_options *options,
                     struct load_settings *settings);

#endif
