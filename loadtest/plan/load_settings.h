/*
 * The load of one run: where it is sent, when, and what counts as an answer. Filled by a command,
 * then read by every thread of the run, which changes nothing in it.
 */
#ifndef FLASHOVER_LOADTEST_PLAN_LOAD_SETTINGS_H
#define FLASHOVER_LOADTEST_PLAN_LOAD_SETTINGS_H

#include "loadtest/plan/schedule.h"
#include "loadtest/plan/target.h"

/* What an answer is held against: its status alone, or the feed's data rule as well. */
enum load_check { LOAD_CHECK_STATUS, LOAD_CHECK_FEED };

#define LOAD_RETRY_BUDGET_NONE 2000 /* percent: as many as `retries` can become */

struct load_segments;

struct load_settings {
    struct target target;
    struct schedule schedule;
    enum load_check check;
    uint32_t items;         /* entries that a right answer has; LOAD_CHECK_FEED */
    int64_t timeout_ns;     /* from the intended start, retries included */
    uint64_t max_in_flight; /* over all threads */
    unsigned threads;
    unsigned retries;         /* attempts beyond the first, after a refused or cut connection or a
                                 502, 503 or 504 */
    int64_t retry_backoff_ns; /* before the first retry; doubled with each further one */
    double retry_budget_percent;    /* retries for each 100 requests at most: see retry_budget.h */
    struct load_segments *segments; /* NULL: the load stays as it begins. Else what is changed while
                                       it runs (segments.h); borrowed */
    uint64_t closed; /* 0: open loop. Else as many callers, each of which sends its next
                        request when the last one has ended, for the schedule's duration */
};

/* How long a run takes at most, from the schedule's zero to the end of its last request. */
int64_t load_settings_span_ns(const struct load_settings *settings);

#endif
