/*
 * A segment of a run, in JSON.
 */
#ifndef FLASHOVER_LOADTEST_REPORT_SEGMENT_JSON_H
#define FLASHOVER_LOADTEST_REPORT_SEGMENT_JSON_H

#include "loadtest/plan/segments.h"

#include <jansson.h>

/* `requests`: that it had, or will have if it lasts. Owned by the caller; NULL without memory. */
json_t *segment_json(const struct load_segment *segment, uint64_t requests)
    __attribute__((warn_unused_result));

/* The stages of a schedule. Likewise. */
json_t *stages_json(const struct schedule *schedule) __attribute__((warn_unused_result));

#endif
