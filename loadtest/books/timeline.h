/*
 * What happened when: the run cut into slots of equal width, with the outcomes and latencies of
 * each. Allocated once, at the start, for the whole run: memory does not depend on the number of
 * requests. Not shared between threads: one per worker, merged after join.
 */
#ifndef FLASHOVER_LOADTEST_BOOKS_TIMELINE_H
#define FLASHOVER_LOADTEST_BOOKS_TIMELINE_H

#include "loadtest/books/ledger.h"

#include <stdint.h>

#define TIMELINE_SLOTS_MAX 640

/* 32 counters per power of two, up to 67 s: a value is off by 3 % at most. */
#define COARSE_COUNTERS 704

struct coarse_histogram {
    uint32_t counters[COARSE_COUNTERS];
    uint32_t count;
};

struct timeline_slot {
    uint32_t scheduled;               /* by their intended start */
    uint32_t attempts;                /* by their real start, retries included */
    uint32_t outcomes[OUTCOME_COUNT]; /* by their end */
    struct coarse_histogram response; /* of those that ended here, as in load_stats.h */
    struct coarse_histogram service;
};

struct timeline {
    int64_t slot_ns;
    unsigned slot_count; /* 1..TIMELINE_SLOTS_MAX */
    struct timeline_slot *slots;
};

/* Slots for a run of span_ns, all of its requests' ends included: 250 ms wide, wider for runs of
 * more than 150 s. False without memory. */
bool timeline_init(struct timeline *timeline, int64_t span_ns) __attribute__((warn_unused_result));
void timeline_destroy(struct timeline *timeline);

/* The slot of a moment after the start, by its number and itself; what lies outside is counted at
 * the edge. */
unsigned timeline_slot_at(const struct timeline *timeline, int64_t at_ns);
struct timeline_slot *timeline_slot(const struct timeline *timeline, int64_t at_ns);

/* Both must have been made for the same span. */
void timeline_merge(struct timeline *into, const struct timeline *from);

void coarse_histogram_record_ns(struct coarse_histogram *histogram, int64_t value_ns);
void coarse_histogram_merge(struct coarse_histogram *into, const struct coarse_histogram *from);

/* Nearest rank, as histogram_percentile_us(): the upper edge of the counter; 0 when empty. */
int64_t coarse_histogram_percentile_us(const struct coarse_histogram *histogram, double percent);

#endif
