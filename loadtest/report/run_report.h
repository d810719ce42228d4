/*
 * A run's report for a terminal: at most 100 columns, plain text.
 */
#ifndef FLASHOVER_LOADTEST_REPORT_RUN_REPORT_H
#define FLASHOVER_LOADTEST_REPORT_RUN_REPORT_H

#include "common/text.h"
#include "loadtest/engine/load_run.h"
#include "loadtest/judge/test_plan.h"

/* Appends the whole report. */
void run_report_write(struct text *out, const struct test_plan *plan,
                      const struct load_result *result);

/* Room for a latency as run_report_latency writes it. */
#define RUN_REPORT_LATENCY_SIZE 24

/* A percentile: "850 us", "4.21 ms", "312 ms", "1.25 s"; ">=5.00 s" where it is only known to be at
 * least that, "-" when nothing was recorded. */
void run_report_latency(char out[RUN_REPORT_LATENCY_SIZE], const struct histogram *histogram,
                        double percent, bool at_least);

/* The same for one value in microseconds, behind `prefix`. */
void run_report_us(char out[RUN_REPORT_LATENCY_SIZE], const char *prefix, int64_t us);

#endif
