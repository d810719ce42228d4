/*
 * The hash table inside both maps, modelled on Go's: buckets of eight entries with a chain of
 * overflow buckets, doubled when there are more than 6.5 entries a bucket. It has no lock and no
 * check of its own: those are the variants'.
 *
 * Two threads that write at once lose entries, as in Go, but stay within memory: a table is only
 * ever replaced as a whole, and what it replaced is kept until the end, as a garbage collector
 * would keep it for a thread that still reads it.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_MAP_TABLE_H
#define FLASHOVER_SERVICE_VARIANTS_MAP_TABLE_H

#include "service/db/queries.h"

#include <stdatomic.h>

struct map_buckets;
struct map_allocation;

struct map_table {
    struct map_buckets *buckets; /* plain on purpose: the race on it is the lesson */
    unsigned count;
    struct map_allocation *_Atomic allocations; /* everything to free at the end */
};

/* A table that grows only beyond so many entries. False without memory; the table is then empty and
 * unusable. */
bool map_table_init(struct map_table *table, unsigned entries) __attribute__((warn_unused_result));

/* Adds a copy of the video or replaces the one of the same id, passing MAP_WRITING once its place
 * is known. False without memory. Grows as needed. */
bool map_table_put(struct map_table *table, const struct video *video)
    __attribute__((warn_unused_result));

/* Visits the entries in no order. */
void map_table_each(const struct map_table *table,
                    void (*visit)(void *context, const struct video *video), void *context);

/* Whether these ids, all different, are the table's entries and its count is theirs: false where a
 * write was lost. */
bool map_table_holds(const struct map_table *table, const int64_t *ids, unsigned count);

void map_table_destroy(struct map_table *table);

#endif
