/*
 * How many files and sockets the process may have open.
 */
#ifndef FLASHOVER_COMMON_DESCRIPTORS_H
#define FLASHOVER_COMMON_DESCRIPTORS_H

#include <stdint.h>

/* Raises the process's limit as far as it may. Returns the limit; 0 when it cannot be read. */
uint64_t descriptors_raise(void);

/* How many of the `wanted` connections the limit has room for, beside `others`; at least 1. Fewer
 * than wanted: one line in the log names the option, and both numbers. */
unsigned descriptors_fit(const char *option, unsigned wanted, unsigned others);

#endif
