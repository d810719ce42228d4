/*
 * What a drill needs beside its rows and its timeline to go on after the end of its program: a line
 * "snapshot" of the record, written when it has changed.
 */
#ifndef FLASHOVER_DRILL_ENGINE_SNAPSHOT_H
#define FLASHOVER_DRILL_ENGINE_SNAPSHOT_H

#include "drill/engine/drill.h"

/* Appends a snapshot to the record if the drill is not as the last one has it. */
void snapshot_write(struct drill *drill);

/* Reads the newest drill in the engine's folder, if it has not ended, and leaves it in `drill`, to
 * be gone on with. NULL: there is none. *why (may be "") says what kept one from going on. */
struct drill *snapshot_restore(struct engine *engine, char *why, size_t why_size);

#endif
