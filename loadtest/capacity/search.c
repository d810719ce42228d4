#include "loadtest/capacity/search.h"

#include "common/check.h"

#include <math.h>

#define TRIALS_MAX 60
/* A vote is won by this number of at most 2 * VOTES - 1 trials. */
#define VOTES 2

/* What came of a rate so far. */
struct tried {
    double rate_per_s;
    unsigned passed;
    unsigned failed;
};

struct search {
    const struct capacity_search_plan *plan;
    struct tried tried[CAPACITY_RATES_MAX];
    size_t count;
    unsigned trials;
    enum capacity_trial_end last;
    bool aborted;
};

const char *capacity_phase_name(enum capacity_phase phase)
{
    static const char *const names[] = {"baseline", "doubling",     "bisection",
                                        "boundary", "confirmation", "overload"};
    return names[phase];
}

static struct tried *at_rate(struct search *search, double rate_per_s)
{
    for (size_t i = 0; i < search->count; i++)
        if (search->tried[i].rate_per_s == rate_per_s)
            return &search->tried[i];
    assert(search->count < CAPACITY_RATES_MAX); /* no more rates than trials */
    search->tried[search->count] = (struct tried){.rate_per_s = rate_per_s};
    return &search->tried[search->count++];
}

static bool passes(const struct tried *tried)
{
    return tried->passed > tried->failed;
}

/* One more trial. Whether the rate passes by all of its trials so far. */
static bool try_rate(struct search *search, double rate_per_s, enum capacity_phase phase)
{
    struct tried *tried = at_rate(search, rate_per_s);
    if (search->aborted || search->trials++ == TRIALS_MAX) {
        search->aborted = true;
        return false;
    }
    search->last = search->plan->trial(search->plan->argument, rate_per_s, phase);
    switch (search->last) {
    case CAPACITY_PASSED:
        tried->passed++;
        break;
    case CAPACITY_FAILED:
    case CAPACITY_FAILED_NARROWLY:
        tried->failed++;
        break;
    case CAPACITY_ABORTED:
        search->aborted = true;
        break;
    }
    return passes(tried);
}

/* Tries on until two of three agree. */
static bool vote(struct search *search, double rate_per_s, enum capacity_phase phase)
{
    const struct tried *tried = at_rate(search, rate_per_s);
    while (!search->aborted && tried->passed < VOTES && tried->failed < VOTES)
        try_rate(search, rate_per_s, phase);
    return passes(tried);
}

/* A trial on the way to the boundary; two of three where it failed narrowly. If chance made a rate
 * far below the boundary look too high, the search would need many more trials. */
static void probe(struct search *search, double rate_per_s, enum capacity_phase phase)
{
    (void)try_rate(search, rate_per_s, phase);
    if (search->last == CAPACITY_FAILED_NARROWLY)
        (void)vote(search, rate_per_s, phase);
}

/* The highest rate that passes with none failing below it, and the lowest that fails. */
static struct capacity_bounds bounds_of(const struct search *search)
{
    struct capacity_bounds bounds = {0, INFINITY};
    for (size_t i = 0; i < search->count; i++) {
        const struct tried *tried = &search->tried[i];
        if (!passes(tried) && tried->failed > 0 && tried->rate_per_s < bounds.upper_per_s)
            bounds.upper_per_s = tried->rate_per_s;
    }
    for (size_t i = 0; i < search->count; i++) {
        const struct tried *tried = &search->tried[i];
        if (passes(tried) && tried->rate_per_s < bounds.upper_per_s &&
            tried->rate_per_s > bounds.lower_per_s)
            bounds.lower_per_s = tried->rate_per_s;
    }
    assert(bounds.lower_per_s < bounds.upper_per_s);
    return bounds;
}

/* Doubles the rate until one is known to fail. */
static void double_until_failure(struct search *search)
{
    struct capacity_bounds bounds = bounds_of(search);
    while (!search->aborted && isinf(bounds.upper_per_s) &&
           bounds.lower_per_s < search->plan->max_per_s) {
        probe(search, fmin(2 * bounds.lower_per_s, search->plan->max_per_s), CAPACITY_DOUBLING);
        bounds = bounds_of(search);
    }
}

/* Narrows the bounds down to the precision; noise may have moved them apart again. */
static struct capacity_bounds bisect(struct search *search)
{
    struct capacity_bounds bounds = bounds_of(search);
    while (!search->aborted && bounds.lower_per_s > 0 && isfinite(bounds.upper_per_s) &&
           bounds.upper_per_s > bounds.lower_per_s * (1 + search->plan->precision)) {
        probe(search, sqrt(bounds.lower_per_s * bounds.upper_per_s), CAPACITY_BISECTION);
        bounds = bounds_of(search);
    }
    return bounds;
}

/* One that passes is enough; two that fail outweigh the short trials that passed. */
static bool confirm(struct search *search, double rate_per_s)
{
    struct tried *tried = at_rate(search, rate_per_s);
    const struct tried before = *tried;
    *tried = (struct tried){.rate_per_s = rate_per_s};
    bool passed = try_rate(search, rate_per_s, CAPACITY_CONFIRMATION) ||
                  vote(search, rate_per_s, CAPACITY_CONFIRMATION);
    if (search->aborted)
        *tried = before;
    return passed;
}

/* Where a confirmation failed there may be nothing left that passed: then a step further down. */
static void step_down(struct search *search)
{
    struct capacity_bounds bounds = bounds_of(search);
    double step = bounds.upper_per_s / (1 + search->plan->precision);
    if (bounds.lower_per_s < step && step >= search->plan->start_per_s)
        probe(search, step, CAPACITY_BISECTION);
}

bool capacity_search(const struct capacity_search_plan *plan, struct capacity_bounds *bounds)
{
    struct search search = {.plan = plan};
    assert(plan->start_per_s > 0 && plan->max_per_s >= plan->start_per_s && plan->precision > 0);
    if (!try_rate(&search, plan->start_per_s, CAPACITY_BASELINE) &&
        !vote(&search, plan->start_per_s, CAPACITY_BASELINE)) {
        *bounds = bounds_of(&search);
        return !search.aborted;
    }
    for (;;) {
        double_until_failure(&search);
        *bounds = bisect(&search);
        if (search.aborted || bounds->lower_per_s == 0)
            break;
        if (!vote(&search, bounds->lower_per_s, CAPACITY_BOUNDARY))
            continue;
        if (isfinite(bounds->upper_per_s) && vote(&search, bounds->upper_per_s, CAPACITY_BOUNDARY))
            continue;
        if (search.aborted || confirm(&search, bounds->lower_per_s))
            break;
        step_down(&search);
    }
    *bounds = bounds_of(&search);
    return !search.aborted;
}
