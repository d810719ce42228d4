/*
 * A run under way as JSON.
 */
#ifndef FLASHOVER_LOADTEST_SERVE_LIVE_JSON_H
#define FLASHOVER_LOADTEST_SERVE_LIVE_JSON_H

#include "loadtest/serve/run_control.h"

#include <jansson.h>

/* elapsed_s, planned, stopping, in_flight; the ledger so far; the latest second (rate, outcomes a
 * second, p99); what the service says of itself. Null before the first report. */
json_t *live_json_build(const struct run_live *live) __attribute__((warn_unused_result));

#endif
