/*
 * The ledger as JSON: the same keys in a run's result, over time, and while it runs.
 */
#ifndef FLASHOVER_LOADTEST_REPORT_LEDGER_JSON_H
#define FLASHOVER_LOADTEST_REPORT_LEDGER_JSON_H

#include "loadtest/books/ledger.h"

#include <jansson.h>

/* scheduled, sent, attempts, retries, and each outcome under its key. */
json_t *ledger_json_build(const struct ledger *ledger) __attribute__((warn_unused_result));

#endif
