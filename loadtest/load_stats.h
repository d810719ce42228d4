/*
 * What a run measures. One per worker thread, filled by it alone, merged after join.
 */
#ifndef FLASHOVER_LOADTEST_LOAD_STATS_H
#define FLASHOVER_LOADTEST_LOAD_STATS_H

#include "common/histogram.h"
#include "loadtest/error_table.h"
#include "loadtest/feed_check.h"
#include "loadtest/ledger.h"

struct load_stats {
    struct ledger ledger;
    struct error_table errors;
    struct feed_defects defects;
    /* Response time: from the intended start to the end, whatever the end was. Those that never
     * got an answer stand at the timeout: a lower bound, not a measurement. */
    struct histogram response_all;
    struct histogram response_ok;
    /* Service time: from the first byte sent to the whole answer; answered requests only. */
    struct histogram service;
    /* How late the generator itself was: from the intended start to taking the request up. */
    struct histogram lag;
};

void load_stats_merge(struct load_stats *into, const struct load_stats *from);

/* A request's end at at_ns (monotonic); started_ns: its intended start; sent_ns: 0 when it never
 * was. `answered`: a whole answer came back. */
void load_stats_end(struct load_stats *stats, enum outcome outcome, bool answered,
                    int64_t intended_ns, int64_t sent_ns, int64_t at_ns);

#endif
