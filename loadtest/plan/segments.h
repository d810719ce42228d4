/*
 * The parts of an open-loop run in time. The first is the plan's; a change under way begins another
 * one, with a schedule of its own. All workers turn to it at the same moment of the schedule: what
 * the older schedule has before that moment is sent, and nothing of it from there on. So no arrival
 * is scheduled before it is due, and the ledger balances.
 */
#ifndef FLASHOVER_LOADTEST_PLAN_SEGMENTS_H
#define FLASHOVER_LOADTEST_PLAN_SEGMENTS_H

#include "loadtest/plan/load_settings.h"

#include <pthread.h>
#include <stdatomic.h>

#define LOAD_SEGMENTS_MAX 1000
/* Poisson arrivals are walked through before the change begins, which must not take longer than
 * LOAD_CHANGE_DELAY_NS. */
#define LOAD_CHANGE_POISSON_MAX 1000000
/* From a change to its beginning: time for it to be there before its first arrival is due. */
#define LOAD_CHANGE_DELAY_NS (200 * CLOCK_NS_PER_MS)

struct load_segment {
    int64_t from_ns;          /* after the run's start */
    struct schedule schedule; /* its times count from from_ns; it lasts until the run's end */
    struct target target;
    uint32_t items;
    unsigned retries;
    double retry_budget_percent; /* as in struct load_settings */
    enum load_check check;       /* the run's */
    double share_percent;        /* so many of the schedule's requests are sent, the rest is shed */
};

/* Lock key: (i) immutable, for a list's entries once they are counted, (m) under `lock`, (a)
 * atomic. */
struct load_segments {
    pthread_mutex_t lock;
    struct load_segment *list[LOAD_SEGMENTS_MAX]; /* (i) owned */
    _Atomic unsigned count;                       /* (a) never falls */
    int64_t start_ns;                             /* (m) the run's; 0: it has not begun */
    unsigned workers;                             /* (i) */
    unsigned waiting;                             /* (m) so many have sent all that there is */
    bool is_over;                                 /* (m) all have: there is no further change */
    int changed_fd; /* (i) an eventfd, to be watched edge-triggered: an entry was added */
};

/* What a change asks for. The rest stays as it is. */
struct load_change {
    bool has_rate, has_arrivals, has_items, has_retries, has_retry_budget, has_share, has_seed;
    double rate_per_s;  /* from then on */
    const char *stages; /* NULL, or instead of a rate: their last rate holds until the end */
    enum arrivals arrivals;
    uint32_t items; /* asked for in the URL, and expected */
    unsigned retries;
    double retry_budget_percent;
    double share_percent; /* more than 0, up to 100 */
    uint64_t seed;        /* the default is the one before, plus 1 */
    /* Whether the caller may have the segment, which comes after so many attempts; if not, `why`
     * has the reason. NULL: yes. */
    bool (*allows)(const void *context, const struct load_segment *next, uint64_t before, char *why,
                   size_t why_size);
    const void *context;
};

/* Makes the first segment of the settings. False without memory or descriptors. */
bool load_segments_init(struct load_segments *segments, const struct load_settings *settings)
    __attribute__((warn_unused_result));
void load_segments_destroy(struct load_segments *segments);

/* Notes the monotonic time of the run's start. */
void load_segments_start(struct load_segments *segments, int64_t start_ns);

unsigned load_segments_count(const struct load_segments *segments);
const struct load_segment *load_segments_at(const struct load_segments *segments, unsigned index);

enum load_change_outcome {
    LOAD_CHANGE_DONE,
    LOAD_CHANGE_WRONG,   /* it cannot be carried out, or is not allowed */
    LOAD_CHANGE_TOO_LATE /* the run is over, or about to be */
};

/* Adds a segment, and copies it to *made. Any thread. Unless DONE, nothing has changed, and `why`
 * has the reason. */
enum load_change_outcome load_segments_change(struct load_segments *segments,
                                              const struct load_change *change,
                                              struct load_segment *made, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* For a worker that has sent all up to segment `index`, and has no request in flight: whether it
 * may end, since all others have too. Until then it waits; *waits_at is the worker's, 0 at first.
 */
bool load_segments_is_over(struct load_segments *segments, unsigned index, unsigned *waits_at);

/* Whether the schedule's request `index` is sent: evenly spread, with the rate as before. */
bool load_segment_sends(const struct load_segment *segment, uint64_t index);

/* How many of the first `count` are. */
uint64_t load_segment_sent_of(const struct load_segment *segment, uint64_t count);

/* About how many requests all segments have together. */
uint64_t load_segments_expected(const struct load_segments *segments);

/* Exactly how many one of them has before the next one begins. Random arrivals are walked through.
 */
uint64_t load_segments_requests_of(const struct load_segments *segments, unsigned index);

#endif
