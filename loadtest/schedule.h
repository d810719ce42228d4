/*
 * The schedule of an open-loop run: when each request is due and which feed it asks for. It depends
 * on rate, duration and seed alone, never on how the service answers, and it is the same however
 * many threads share it. Nothing is stored: a cursor computes the next arrival.
 */
#ifndef FLASHOVER_LOADTEST_SCHEDULE_H
#define FLASHOVER_LOADTEST_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_FEEDS 1000 /* feed ids are 1..SCHEDULE_FEEDS (the seeded data) */

struct schedule {
    double rate_per_s;
    double duration_s;
    uint64_t seed;
    uint64_t count; /* requests in the whole schedule */
};

struct schedule_arrival {
    uint64_t index;   /* 0..count-1 */
    int64_t at_ns;    /* after the start of the run: the intended start */
    uint32_t feed_id; /* 1..SCHEDULE_FEEDS */
};

/* Walks through the arrivals whose index is `part` modulo `parts`. Owned by one thread. */
struct schedule_cursor {
    const struct schedule *schedule;
    uint64_t next_index;
    uint64_t step;
};

/* Constant spacing: arrival i is due i / rate seconds after the start; rate * duration arrivals,
 * at least 1. rate_per_s > 0, duration_s > 0. */
void schedule_init(struct schedule *schedule, double rate_per_s, double duration_s, uint64_t seed);

void schedule_cursor_init(struct schedule_cursor *cursor, const struct schedule *schedule,
                          unsigned part, unsigned parts);

/* Takes the cursor's next arrival; false when there is none left. */
bool schedule_next(struct schedule_cursor *cursor, struct schedule_arrival *out);

#endif
