/*
 * What a seed makes of a scenario: when things happen in this drill, and under which numbers. The
 * same seed gives the same plan.
 */
#ifndef FLASHOVER_DRILL_ENGINE_PLAN_H
#define FLASHOVER_DRILL_ENGINE_PLAN_H

#include "drill/catalogue/house.h"
#include "drill/catalogue/scenario.h"

#include <stdint.h>

#define PLAN_DEPLOYMENTS 3

/* A version that was deployed while all was well. It restarted nothing. */
struct plan_deployment {
    double at_s; /* after the load's start */
    unsigned version;
    const char *summary;
    bool guilty;
};

struct plan {
    uint64_t seed;
    double pace;      /* multiplies people's times: healthy_s, at_s, lead times, windows, limits */
    double fault_s;   /* T0, after the load's start */
    unsigned version; /* in force when the load starts */
    struct plan_deployment deployments[PLAN_DEPLOYMENTS]; /* by time */
};

/* `pace` is above 0; 1 for people. healthy_s: how long all is well; 0: as the seed has it. */
struct plan plan_make(const struct house *house, const struct scenario *scenario, uint64_t seed,
                      double pace, double healthy_s);

/* From the start of trigger `index` (from 0) to the next one's. Never scaled: the service's times
 * are real. */
double plan_trigger_gap_s(const struct plan *plan, const struct scenario *scenario, unsigned index);

#endif
