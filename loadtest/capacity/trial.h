/*
 * One trial of the capacity search: what a run's result means for it.
 */
#ifndef FLASHOVER_LOADTEST_CAPACITY_TRIAL_H
#define FLASHOVER_LOADTEST_CAPACITY_TRIAL_H

#include "loadtest/capacity/capacity.h"

/* A trial keeps up when it answers this share of the offered rate, and when requests do not pile up
 * while it lasts. */
#define CAPACITY_KEEPS_UP 0.98

/* Fills everything but phase and rate from a run whose first stage was the trial. For an overload
 * the second stage is the recovery, whose answers are good when right and within the largest p(N)
 * bound among the thresholds (200 ms where there is none). */
void capacity_trial_take(struct capacity_trial *trial, const struct test_plan *plan,
                         const struct load_result *result);

#endif
