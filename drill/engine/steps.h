/*
 * What happens in a drill by itself.
 */
#ifndef FLASHOVER_DRILL_ENGINE_STEPS_H
#define FLASHOVER_DRILL_ENGINE_STEPS_H

#include "drill/engine/drill.h"

/* Carries out what is due at now_s: deployments of the plan, T0, triggers, sessions. */
void drill_run_plan(struct engine *engine, struct drill *drill, double now_s);

/* Starts the sessions of T0 again, which died with the program; not those that a repair has ended.
 */
void drill_resume_sessions(struct engine *engine, struct drill *drill);

#endif
