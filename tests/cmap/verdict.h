/*
 * Holds what happened against what a scenario expects. Expected events are matched by index with
 * those that are left when the types to be ignored are gone; each must be a subset of its partner,
 * and 42 or "42" stands for any value that is there.
 */
#ifndef FLASHOVER_TESTS_CMAP_VERDICT_H
#define FLASHOVER_TESTS_CMAP_VERDICT_H

#include "common/text.h"
#include "tests/cmap/session.h"

/* The pool's events so far, as the format has them: a new array. Also puts their times, in ms since
 * the first, into *times_ms, to be freed by the caller. */
json_t *cmap_verdict_events(struct cmap_session *session, double **times_ms)
    __attribute__((warn_unused_result));

/* False and `why` when the events are not as expected. */
bool cmap_verdict_on_events(const struct cmap_scenario *scenario, const json_t *events,
                            struct cmap_why *why);

/* False and `why` when the error, type NULL for none, is not as expected. `address` is the pool's.
 */
bool cmap_verdict_on_error(const struct cmap_scenario *scenario, const struct cmap_error *error,
                           const char *address, struct cmap_why *why);

/* Appends the events, one a line, indented, with their times. */
void cmap_verdict_print(const json_t *events, const double *times_ms, struct text *out);

#endif
