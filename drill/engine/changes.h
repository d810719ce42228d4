/*
 * What people change in a drill, and what they expect of it.
 */
#ifndef FLASHOVER_DRILL_ENGINE_CHANGES_H
#define FLASHOVER_DRILL_ENGINE_CHANGES_H

#include "drill/engine/drill.h"

/* Carries out changes that are due, and sees to a restart's end. */
void drill_run_changes(struct engine *engine, struct drill *drill, double now_s);

/* Compares expectations whose time has come. */
void drill_judge_expectations(struct drill *drill, double now_s);

/* The figures that an expectation can name; ends with NULL. */
#define EXPECTATION_FIGURES 6
extern const char *const expectation_figures[EXPECTATION_FIGURES + 1];

#endif
