/*
 * The rows of a run's seconds, in JSON: arrays of numbers, in the order of the columns.
 */
#ifndef FLASHOVER_LOADTEST_REPORT_SECONDS_JSON_H
#define FLASHOVER_LOADTEST_REPORT_SECONDS_JSON_H

#include "loadtest/books/seconds.h"

#include <jansson.h>

/* The names of the columns. Owned by the caller, as what follows; NULL without memory. */
json_t *seconds_json_columns(void) __attribute__((warn_unused_result));

json_t *seconds_json_row(const struct second_row *row) __attribute__((warn_unused_result));

/* {"columns": …, "rows": …}, of the first `count` rows. */
json_t *seconds_json_build(const struct seconds *seconds, unsigned count)
    __attribute__((warn_unused_result));

#endif
