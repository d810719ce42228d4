/*
 * All threads with their stacks, on demand, while the service goes on.
 */
#ifndef FLASHOVER_SERVICE_DUMP_THREAD_DUMP_H
#define FLASHOVER_SERVICE_DUMP_THREAD_DUMP_H

#include "service/dump/report.h"

/* Interrupts every thread for a moment and appends the report; with addresses instead of names
 * where the helper is gone. At most about 10 s; one at a time, the others wait for half as long.
 * False when it did not come to its turn, or without memory. dump_helper_start() and
 * crash_dump_install() come first. */
bool thread_dump(enum dump_format format, struct text *out) __attribute__((warn_unused_result));

#endif
