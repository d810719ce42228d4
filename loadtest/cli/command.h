/*
 * The subcommands of the load tester. Each takes its own argv (argv[0] is its name), prints its
 * report on stdout and everything else on stderr, and returns the exit status.
 */
#ifndef FLASHOVER_LOADTEST_CLI_COMMAND_H
#define FLASHOVER_LOADTEST_CLI_COMMAND_H

#include "common/stop.h"
#include "common/text.h"
#include "loadtest/cli/load_options.h"

#include <jansson.h>

/* `stop` is what signals ask. Each stands in the folder of its command. */
enum exit_code command_run(int argc, char **argv, struct stop *stop);
enum exit_code command_matrix(int argc, char **argv, struct stop *stop);
enum exit_code command_capacity(int argc, char **argv, struct stop *stop);
enum exit_code command_selftest(int argc, char **argv, struct stop *stop);
enum exit_code command_serve(int argc, char **argv, struct stop *stop);

/* Parses a command's arguments: EXIT_PASS when the command is to be run, else *status is what it
 * ends with. Commands have no positional arguments. */
bool command_parse(const struct options_program *program, int argc, char **argv,
                   enum exit_code *status);

/* Whether the file of an option could be written now; NULL: it was not given. False with one line
 * on stderr. */
bool command_try_file(const char *program, const char *option, const char *path)
    __attribute__((warn_unused_result));

/* Prints a report on stdout, clears it, and writes `json` (released; NULL: out of memory) to
 * json_path where that is not NULL, with one line on stderr when that fails. False when one of
 * them failed. */
bool command_report(const char *program, struct text *report, const char *json_path, json_t *json)
    __attribute__((warn_unused_result));

/* load_options_resolve(), with one line on stderr when that fails or descriptors are few. Returns
 * EXIT_PASS, or the exit status. */
enum exit_code command_plan(const char *program, const struct load_options *options,
                            struct test_plan *plan) __attribute__((warn_unused_result));

#endif
