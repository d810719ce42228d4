/*
 * Who writes an unlocked map: for the dump of a concurrent write, which is to name both.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_MAP_WRITERS_H
#define FLASHOVER_SERVICE_VARIANTS_MAP_WRITERS_H

#include <stdatomic.h>

/* The kernel's ids of the threads that began to write last, and before that; zeros at first. All
 * relaxed: it orders nothing, and may be wrong where three write at once. */
struct map_writers {
    _Atomic long last, before;
};

/* The calling thread begins to write. */
void map_writers_begin(struct map_writers *writers);

/* It has written. Does not return while the process ends, so that a dump finds this writer in its
 * write. */
void map_writers_end(void);

/* Names the other writer, for the dump that the calling thread may be about to cause. */
void map_writers_name_other(struct map_writers *writers);

#endif
