/*
 * Whether a run measured the service, or the load tester itself: the third verdict, INVALID.
 */
#ifndef FLASHOVER_LOADTEST_JUDGE_GENERATOR_CHECK_H
#define FLASHOVER_LOADTEST_JUDGE_GENERATOR_CHECK_H

#include "loadtest/books/load_stats.h"

#include <stdbool.h>

/* The generator's own lateness may be up to this share of the response time. Below these limits it
 * may be more: it does not matter to a service with an SLO of 200 ms. */
#define GENERATOR_LAG_SHARE  0.1
#define GENERATOR_LAG_P99_US 20000
#define GENERATOR_LAG_MAX_US 200000
/* The latest that a request may ever be sent, however slow the service was. */
#define GENERATOR_LAG_LIMIT_US 450000
/* A thread that uses more of a core than this has no time left for its connections. */
#define GENERATOR_CPU_SHARE 0.9

/* Calls `add` with a sentence for each reason not to believe the run: its schedule was not kept,
 * its threads were out of CPU, its process out of descriptors or its host out of ports. True when
 * there was none. */
bool generator_check(const struct load_stats *stats,
                     void (*add)(void *argument, const char *sentence), void *argument);

#endif
