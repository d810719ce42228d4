/*
 * A dump of all threads, as Go's runtime prints its goroutines: those in the same state with the
 * same stack are one entry with a count.
 */
#ifndef FLASHOVER_SERVICE_DUMP_REPORT_H
#define FLASHOVER_SERVICE_DUMP_REPORT_H

#include "common/text.h"
#include "service/dump/stack_slots.h"
#include "service/dump/symbols.h"

enum dump_format {
    DUMP_TEXT,
    DUMP_JSON /* an array: the groups of /debug/threads */
};

/* Appends what a collection found, by threads: in a dying process first the one that dies and then
 * the other writer of its map, each alone; then the groups, the largest first. False without
 * memory. */
bool dump_report_write(struct stack_slots *slots, const struct dump_resolver *resolver,
                       enum dump_format format, struct text *out)
    __attribute__((warn_unused_result));

/* A resolver that knows nothing but the address. */
struct dump_resolver dump_report_raw_resolver(void);

#endif
