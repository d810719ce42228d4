/*
 * The scenes of the truth tests: what the stall server does in each.
 */
#ifndef FLASHOVER_LOADTEST_SELFTEST_SCENES_H
#define FLASHOVER_LOADTEST_SELFTEST_SCENES_H

#include "loadtest/selftest/stall_scene.h"

/* T1: 1 ms, but all that comes in the fourth second is held until its end. */
extern const struct stall_scene selftest_scene_stall;
/* T2: one slot of 10 ms, which stands still in the fourth second. */
extern const struct stall_scene selftest_scene_drain;
/* T3: ten slots of 100 ms. */
extern const struct stall_scene selftest_scene_overload;
/* T4: one in a hundred is never answered. */
extern const struct stall_scene selftest_scene_hole;
/* T5: 1 ms, always. */
extern const struct stall_scene selftest_scene_steady;
/* T6: one slot, 1 ms on average, exponential. */
extern const struct stall_scene selftest_scene_queue;
/* T7: all kinds of answers, in tens: see books.c. */
extern const struct stall_scene selftest_scene_mixed;
/* T8: exponential times without a queue, for latencies all over the histogram. */
extern const struct stall_scene selftest_scene_spread;
/* T9: in each twenty answers, five with a defect. */
extern const struct stall_scene selftest_scene_corrupt;

#endif
