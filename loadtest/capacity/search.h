/*
 * The search for the highest rate at which a service keeps its thresholds. It only chooses rates;
 * its caller runs the trials. A baseline, doubling until one fails, bisection on a logarithmic
 * scale, two of three at either side of the boundary, and a longer confirmation. After Nighthawk's
 * adaptive load and FD.io's MLRsearch, which report a lower and an upper bound as well.
 */
#ifndef FLASHOVER_LOADTEST_CAPACITY_SEARCH_H
#define FLASHOVER_LOADTEST_CAPACITY_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

#define CAPACITY_RATES_MAX 64

enum capacity_phase {
    CAPACITY_BASELINE,
    CAPACITY_DOUBLING,
    CAPACITY_BISECTION,
    CAPACITY_BOUNDARY,
    CAPACITY_CONFIRMATION,
    CAPACITY_OVERLOAD /* not the search's: what comes beyond */
};

enum capacity_trial_end {
    CAPACITY_PASSED,
    CAPACITY_FAILED,
    CAPACITY_FAILED_NARROWLY, /* it may have been chance: worth another look at once */
    CAPACITY_ABORTED
};

struct capacity_search_plan {
    double start_per_s;
    double max_per_s;
    double precision; /* upper/lower - 1 at which the bisection ends, as 0.05 */
    enum capacity_trial_end (*trial)(void *argument, double rate_per_s, enum capacity_phase phase);
    void *argument;
};

struct capacity_bounds {
    double lower_per_s; /* confirmed; 0: not even the start rate */
    double upper_per_s; /* the lowest rate that failed; INFINITY: none up to the plan's highest */
};

const char *capacity_phase_name(enum capacity_phase phase);

/* Runs the search. False when a trial was aborted, or no boundary stood still within 60 trials;
 * *bounds is then what is known so far. */
bool capacity_search(const struct capacity_search_plan *plan, struct capacity_bounds *bounds);

#endif
