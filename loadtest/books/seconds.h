/*
 * A row for each second of a run, for up to four hours: what was due and what became of it, and
 * what ended when. Accounts and windows count a request where it was due; alerts and charts where
 * it ended. Allocated once. Not shared between threads: one per worker.
 */
#ifndef FLASHOVER_LOADTEST_BOOKS_SECONDS_H
#define FLASHOVER_LOADTEST_BOOKS_SECONDS_H

#include "loadtest/books/ledger.h"

#include <stdint.h>

#define SECONDS_MAX 14400
/* The service's SLO: 99 % of the right answers come within this. */
#define SECONDS_WITHIN_NS INT64_C(200000000)
/* One in so many requests is a probe: a caller that knows the right answer. */
#define SECONDS_PROBE 20
/* Four counters for each doubling, from 1 ms to 78 s: for display, off by a tenth at most. */
#define SECONDS_LATENCIES 66

struct second_row {
    /* Of the requests due in this second. */
    uint32_t demanded; /* those that were not sent to spare the service included */
    uint32_t due;
    uint32_t ended; /* so many of them have, in whatever way */
    uint32_t right;
    uint32_t within; /* of these, in time */
    /* Of those that ended in it. */
    uint32_t outcomes[OUTCOME_COUNT];
    uint32_t slow; /* right, and late */
    uint32_t probed;
    uint32_t probed_wrong;
    uint16_t latencies[SECONDS_LATENCIES]; /* as load_stats.h has response times */
    /* Of those taken up in it. */
    uint32_t attempts;
    uint32_t lag_max_us; /* how late the load tester was */
};

struct seconds {
    struct second_row *rows;
    unsigned count; /* rows; what comes later is not kept */
};

/* A request that ended; times are after the run's start. */
struct second_end {
    enum outcome outcome;
    int64_t due_ns;
    int64_t at_ns;
    int64_t waited_ns;
    bool is_probe;
};

/* For a run of span_ns, until its last request has ended. False without memory. */
bool seconds_init(struct seconds *seconds, int64_t span_ns) __attribute__((warn_unused_result));
void seconds_destroy(struct seconds *seconds);

/* The row of a moment after the start; NULL beyond the last one. */
struct second_row *seconds_at(const struct seconds *seconds, int64_t at_ns);

/* How many rows a run has begun at a moment. */
unsigned seconds_begun(const struct seconds *seconds, int64_t at_ns);

/* Callers wanted a request at this moment. */
void seconds_demand(struct seconds *seconds, int64_t due_ns);

/* A request due at due_ns was taken up at at_ns. */
void seconds_take_up(struct seconds *seconds, int64_t due_ns, int64_t at_ns);

/* A request, or another attempt at it, was begun. */
void seconds_attempt(struct seconds *seconds, int64_t at_ns);

void seconds_end(struct seconds *seconds, const struct second_end *end);

/* Makes the rows first..to-1 empty. */
void seconds_clear(struct seconds *seconds, unsigned first, unsigned to);

/* Adds the rows first..to-1. Both must have been made for the same span. */
void seconds_add(struct seconds *into, const struct seconds *from, unsigned first, unsigned to);

/* Nearest rank, the middle of the counter on a logarithmic scale, in ms; 1 where it is less. NAN
 * for a row without an end. */
double second_percentile_ms(const struct second_row *row, double percent);

#endif
