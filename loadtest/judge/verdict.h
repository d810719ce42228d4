/*
 * What a run came to: whether it passed, and what happened in words.
 */
#ifndef FLASHOVER_LOADTEST_JUDGE_VERDICT_H
#define FLASHOVER_LOADTEST_JUDGE_VERDICT_H

#include "common/text.h"
#include "loadtest/engine/load_run.h"
#include "loadtest/judge/test_plan.h"

/* Exit codes of the load tester; those above 2 are k6's (errext/exitcodes). */
enum exit_code {
    EXIT_PASS = 0,
    EXIT_TROUBLE = 1, /* the run could not be done, or its books do not balance */
    EXIT_USAGE = 2,
    EXIT_THRESHOLD = 99,
    EXIT_STOPPED_BY_REST = 103,
    EXIT_SIGNAL = 105,
    EXIT_REST_CANNOT_START = 106,
    EXIT_INVALID = 111 /* ours: the load tester was the bottleneck */
};

/* The messages of the incident, as the service words them. */
#define MESSAGE_CHECKOUT_TIMEOUT "timed out while checking out a connection"
#define MESSAGE_WRITE_DEADLINE   "failed to write: context deadline exceeded"
#define MESSAGE_READ_DEADLINE    "incomplete read of message"

/* Whether every threshold was kept. A run without a right answer never passes. A run with a wrong
 * answer passes only when a threshold is about wrong answers. */
bool verdict_passed(const struct load_stats *stats, const struct slo_list *slos);

/* The exit code of `run`, the first that applies: the books do not balance, the run was stopped,
 * the load tester was the bottleneck, a threshold was not kept. */
enum exit_code verdict_exit_code(const struct load_result *result, const struct test_plan *plan);

/* "PASS", "FAIL", "INVALID", "STOPPED" (by a signal or by REST) or "BROKEN" (the books). */
const char *verdict_word(enum exit_code code);

/* Writes one sentence a line, each without a line end, that say what happened; calls `add` for
 * each. */
void verdict_explain(const struct load_result *result, const struct test_plan *plan,
                     void (*add)(void *argument, const char *sentence), void *argument);

#endif
