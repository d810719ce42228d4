/*
 * What a schedule is from a moment on, for a run whose load is changed while it runs.
 */
#ifndef FLASHOVER_LOADTEST_PLAN_SCHEDULE_CHANGE_H
#define FLASHOVER_LOADTEST_PLAN_SCHEDULE_CHANGE_H

#include "loadtest/plan/schedule.h"

/* What `schedule` has from from_s seconds on (less than its duration), constant arrivals. */
void schedule_rest(struct schedule *rest, const struct schedule *schedule, double from_s,
                   uint64_t seed);

/* Adds a stage that holds the last rate until until_s seconds after the start. False with the
 * reason in `why`: the stages take longer than that, or there are too many. */
bool schedule_hold_until(struct schedule *schedule, double until_s, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* The area under the rate up to at_s seconds after the start: about as many arrivals. */
double schedule_area_before(const struct schedule *schedule, double at_s);

/* How many arrivals are due before a moment after the start. Poisson arrivals are walked through.
 */
uint64_t schedule_count_before(const struct schedule *schedule, int64_t at_ns);

#endif
