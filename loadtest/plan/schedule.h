/*
 * The schedule of an open-loop run: when each request is due and which feed it asks for. It depends
 * on stages, arrival process and seed alone, never on how the service answers, and it is the same
 * however many threads share it. Nothing is stored: a cursor computes the next arrival.
 */
#ifndef FLASHOVER_LOADTEST_PLAN_SCHEDULE_H
#define FLASHOVER_LOADTEST_PLAN_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCHEDULE_FEEDS      1000 /* feed ids are 1..SCHEDULE_FEEDS (the seeded data) */
#define SCHEDULE_STAGES_MAX 64
#define SCHEDULE_RATE_MAX   1e6   /* requests per second */
#define SCHEDULE_TIME_MAX_S 86400 /* of all stages together */

enum arrivals {
    ARRIVALS_CONSTANT, /* evenly spaced in a stage that holds its rate */
    ARRIVALS_POISSON   /* random, as those of many independent callers are */
};

/* The rate moves evenly from one value to the other; a stage that holds has the same twice. */
struct schedule_stage {
    double from_per_s;
    double to_per_s;
    double duration_s;
};

struct schedule {
    enum arrivals arrivals;
    uint64_t seed;
    struct schedule_stage stages[SCHEDULE_STAGES_MAX];
    size_t stage_count;
    double duration_s; /* of all stages */
    double expected;   /* area under the rate: requests, with a fraction */
    uint64_t count;    /* requests in the whole schedule: `expected` rounded down, at least 1 */
    double gap_sum;    /* POISSON: of count + 1 gaps, see schedule.c */
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
    uint64_t summed; /* POISSON: gaps that are in gap_sum */
    double gap_sum;
    size_t stage;      /* the stage that the last arrival fell into */
    double stage_from; /* requests due before it */
    double stage_at_s; /* when it begins */
};

/* One stage that holds rate_per_s > 0 for duration_s > 0: arrival i is due i / rate seconds after
 * the start. */
void schedule_init(struct schedule *schedule, double rate_per_s, double duration_s, uint64_t seed);

/* Reads stages as a user writes them: "20/10s,20-60/30s,60/1m": RATE/TIME holds, FROM-TO/TIME
 * ramps. Rates are 0..SCHEDULE_RATE_MAX, times more than 0 and together at most
 * SCHEDULE_TIME_MAX_S; at least one request must come of it. Constant arrivals until
 * schedule_set_arrivals(). False with the reason in `why`. */
bool schedule_parse(struct schedule *schedule, const char *text, uint64_t seed, char *why,
                    size_t why_size) __attribute__((warn_unused_result));

/* The same, also where no request comes of it. */
bool schedule_parse_stages(struct schedule *schedule, const char *text, uint64_t seed, char *why,
                           size_t why_size) __attribute__((warn_unused_result));

/* Adds a stage behind the others. Its duration is more than 0, and there are fewer than
 * SCHEDULE_STAGES_MAX. */
void schedule_add_stage(struct schedule *schedule, struct schedule_stage stage);

/* Poisson arrivals walk the whole schedule once, some 20 ns a request. */
void schedule_set_arrivals(struct schedule *schedule, enum arrivals arrivals);

const char *schedule_arrivals_name(enum arrivals arrivals);

/* The rate on average and at its highest, in requests per second. */
double schedule_mean_rate(const struct schedule *schedule);
double schedule_peak_rate(const struct schedule *schedule);

/* Tells two schedules apart: a hash over the parameters and the first 65,536 arrivals, times and
 * feeds (FNV-1a, 64 bits). Equal hashes mean that two runs asked the same at the same times. */
uint64_t schedule_hash(const struct schedule *schedule);

void schedule_cursor_init(struct schedule_cursor *cursor, const struct schedule *schedule,
                          unsigned part, unsigned parts);

/* Takes the cursor's next arrival; false when there is none left. */
bool schedule_next(struct schedule_cursor *cursor, struct schedule_arrival *out);

/* The feed that request `index` asks for; also for requests that no schedule has (closed loop). */
uint32_t schedule_feed(uint64_t seed, uint64_t index);

#endif
