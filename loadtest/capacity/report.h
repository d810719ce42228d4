/*
 * What `loadtest capacity` found, for a terminal and as JSON.
 */
#ifndef FLASHOVER_LOADTEST_CAPACITY_REPORT_H
#define FLASHOVER_LOADTEST_CAPACITY_REPORT_H

#include "common/text.h"
#include "loadtest/capacity/capacity.h"

#include <jansson.h>

/* Appends the table of trials and the figures, at most 100 columns. */
void capacity_report_write(struct text *out, const struct capacity *capacity);

/* The same as a new object; NULL when memory ran out. */
json_t *capacity_report_json(const struct capacity *capacity) __attribute__((warn_unused_result));

#endif
