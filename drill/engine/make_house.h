/*
 * Makes the lab what the house says: toggles, settings, and the role's limit.
 */
#ifndef FLASHOVER_DRILL_ENGINE_MAKE_HOUSE_H
#define FLASHOVER_DRILL_ENGINE_MAKE_HOUSE_H

#include "drill/engine/drill.h"

/* All toggles of the house, by name; the caller's to json_decref. */
json_t *house_toggles(const struct house *house) __attribute__((warn_unused_result));

/* One try; blocks, so the engine's lock is not held. *restarted: the service has been told to
 * restart by an earlier try, or by this one. False: it is not there yet, and the lab's `why` may
 * say more. */
bool house_make(struct engine *engine, bool *restarted) __attribute__((warn_unused_result));

#endif
