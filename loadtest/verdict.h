/*
 * What a run came to: whether it passed, and what happened in words.
 */
#ifndef FLASHOVER_LOADTEST_VERDICT_H
#define FLASHOVER_LOADTEST_VERDICT_H

#include "common/text.h"
#include "loadtest/load_run.h"

/* Exit codes of the load tester; those above 2 are k6's (errext/exitcodes). */
enum exit_code {
    EXIT_PASS = 0,
    EXIT_TROUBLE = 1, /* the run could not be done, or its books do not balance */
    EXIT_USAGE = 2,
    EXIT_THRESHOLD = 99,
    EXIT_SIGNAL = 105
};

/* The share of right answers that a run needs to pass (the service's SLO, design section 3). */
#define VERDICT_OK_SHARE 0.999

/* The messages of the incident, as the service words them (design section 5). */
#define MESSAGE_CHECKOUT_TIMEOUT "timed out while checking out a connection"
#define MESSAGE_WRITE_DEADLINE   "failed to write: context deadline exceeded"
#define MESSAGE_READ_DEADLINE    "incomplete read of message"

/* No wrong answer, and right ones for VERDICT_OK_SHARE of what was scheduled. */
bool verdict_passed(const struct load_stats *stats);

/* The exit code of `run`: trouble beats a signal, a signal beats the threshold. */
enum exit_code verdict_exit_code(const struct load_result *result);

/* "PASS", "FAIL", "STOPPED" (by a signal) or "BROKEN" (the books do not balance). */
const char *verdict_word(const struct load_result *result);

/* Writes one sentence a line, each without a line end, that say what happened; calls `add` for
 * each. */
void verdict_explain(const struct load_result *result, const struct load_settings *settings,
                     void (*add)(void *argument, const char *sentence), void *argument);

#endif
