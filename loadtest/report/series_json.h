/*
 * The parts of a run's JSON that go over time, and its percentile spectra.
 */
#ifndef FLASHOVER_LOADTEST_REPORT_SERIES_JSON_H
#define FLASHOVER_LOADTEST_REPORT_SERIES_JSON_H

#include "loadtest/engine/load_run.h"

#include <jansson.h>

/* Slots of the timeline from the start to the end of the last request. */
unsigned series_json_slots(const struct load_result *result);

/* An object for each of these slots: what was scheduled, how requests ended, latencies, and on the
 * same axis what the service said of itself (the look with the longest wait queue of those in the
 * slot; null where there was none). */
json_t *series_json_build(const struct load_result *result) __attribute__((warn_unused_result));

/* [value in ms, percentile 0..1, requests up to it, 1/(1-percentile)] as HdrHistogram's plot files
 * have it, with five steps for each halving of the distance to 100 %; the last is the maximum, its
 * fourth figure null. */
json_t *series_json_spectrum(const struct histogram *histogram) __attribute__((warn_unused_result));

#endif
