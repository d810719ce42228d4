/*
 * How long callers of a stall server really waited, in two versions. On paper: as if neither side
 * had been late. As done: by the server's own clock and books, from the time a request was due to
 * the time its answer was written. The difference is the machine's doing. Nothing here comes from
 * the load tester's own measurements.
 */
#ifndef FLASHOVER_LOADTEST_SELFTEST_TRUTH_H
#define FLASHOVER_LOADTEST_SELFTEST_TRUTH_H

#include "loadtest/base/samples.h"
#include "loadtest/selftest/load.h"

struct selftest_truth {
    size_t count;
    int64_t *paper_ns; /* sorted; owned */
    int64_t *done_ns;  /* sorted; owned */
};

/* Works both out for a run whose load kept a record. Requests are matched to the schedule by the
 * order of their arrival. False, with a row in `table`, when the server did not answer each
 * request, or without memory. selftest_truth_free() after true. */
bool selftest_truth_init(struct selftest_truth *truth, const struct selftest_run *run,
                         struct selftest_table *table) __attribute__((warn_unused_result));
void selftest_truth_free(struct selftest_truth *truth);

/* How much longer than on paper it took, in ms: at a percentile, and on average. */
double selftest_late_ms(const struct selftest_truth *truth, double percent);
double selftest_late_mean_ms(const struct selftest_truth *truth);

#endif
