/*
 * A run's result as JSON, and a file that is there whole or not at all.
 */
#ifndef FLASHOVER_LOADTEST_REPORT_RUN_JSON_H
#define FLASHOVER_LOADTEST_REPORT_RUN_JSON_H

#include "loadtest/engine/load_run.h"
#include "loadtest/judge/test_plan.h"

#include <jansson.h>

/* The run as a new JSON object; NULL when memory ran out. */
json_t *run_json_build(const struct test_plan *plan, const struct load_result *result)
    __attribute__((warn_unused_result));

/* Writes `root` to `path` by way of a temporary file beside it that is renamed at the end. False
 * with the reason in `why`. */
bool run_json_write_file(const char *path, unsigned mode, const json_t *root, char *why,
                         size_t why_size) __attribute__((warn_unused_result));

#endif
