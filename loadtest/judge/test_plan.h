/*
 * A test plan: the load to send, and the thresholds that its result is held against. The engine
 * sees the load alone.
 */
#ifndef FLASHOVER_LOADTEST_JUDGE_TEST_PLAN_H
#define FLASHOVER_LOADTEST_JUDGE_TEST_PLAN_H

#include "loadtest/judge/slo.h"
#include "loadtest/plan/load_settings.h"

struct test_plan {
    struct load_settings load;
    struct slo_list slos;
};

#endif
