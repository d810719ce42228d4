/*
 * How busy the processors of this machine are.
 */
#ifndef FLASHOVER_LOADTEST_BASE_PROCESSORS_H
#define FLASHOVER_LOADTEST_BASE_PROCESSORS_H

/* The seconds that the processors were busy since the machine started, summed over all of them and
 * all programs; NAN where /proc/stat cannot be read (proc(5)). Time that a hypervisor gave to
 * others does not count. */
double processors_busy_s(void);

/* How many the machine has, also those that this process may not run on; at least 1. */
unsigned processors_count(void);

#endif
