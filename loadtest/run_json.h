/*
 * A run's result as JSON, and a file that is there whole or not at all.
 */
#ifndef FLASHOVER_LOADTEST_RUN_JSON_H
#define FLASHOVER_LOADTEST_RUN_JSON_H

#include "loadtest/load_run.h"

#include <jansson.h>

/* The run as a new JSON object; NULL when memory ran out. */
json_t *run_json_build(const struct load_settings *settings, const struct load_result *result)
    __attribute__((warn_unused_result));

/* Writes `root` to `path` by way of a temporary file beside it that is renamed at the end. Returns
 * 0, or -1 with the reason in `why`. */
int run_json_write_file(const char *path, const json_t *root, char *why, size_t why_size);

/* A number, or null for NAN. */
json_t *run_json_number(double value);

#endif
