/*
 * One run of load: workers started together, watched, joined, their measurements merged and the
 * books closed.
 */
#ifndef FLASHOVER_LOADTEST_ENGINE_LOAD_RUN_H
#define FLASHOVER_LOADTEST_ENGINE_LOAD_RUN_H

#include "common/client/scrape.h"
#include "loadtest/engine/load_worker.h"

/* A run under way: what on_progress gets. */
struct load_moment {
    const struct load_settings *settings;
    double elapsed_s;
    struct load_live live;
    enum scrape_state service_state; /* SCRAPE_NEVER without an admin URL */
    struct service_sample service;
    const struct seconds *seconds; /* rows seconds_from..seconds_to-1 have changed */
    unsigned seconds_from, seconds_to;
    unsigned seconds_final; /* so many rows change no more */
};

/* Is called while the run lasts, in the thread that runs it. */
struct load_watch {
    void (*on_progress)(void *argument, const struct load_moment *moment); /* NULL: never */
    void *argument;
    int64_t interval_ns;
};

/* A segment as it was, and the requests that it had until the next one began. */
struct load_result_segment {
    struct load_segment segment;
    uint64_t requests;
};

struct load_result {
    struct load_stats *stats; /* owned */
    int64_t start_ns;         /* monotonic: the schedule's zero */
    double started_unix_s;    /* the same on the wall clock */
    int64_t elapsed_ns;       /* from there to the end of the last request */
    int stop_reason;          /* 0, or the reason in `stop` that cut the run short */
    bool balanced;
    char imbalance[128];                  /* which sum is off, when not balanced */
    struct load_result_segment *segments; /* owned; one unless the load was changed */
    unsigned segment_count;
    bool has_service;             /* an admin URL was given and answered at least once */
    struct scrape_result service; /* its figures are valid when has_service; owned */
};

/* Runs the load to its end, or until `stop`. `scrape` may be NULL; it is finished and freed in any
 * case, a service that is down being given settle_ns to come back. False with the reason in `why`
 * when the run could not be started; `result` must be freed only after true. */
bool load_run_execute(const struct load_settings *settings, struct scrape *scrape,
                      int64_t settle_ns, struct stop *stop, const struct load_watch *watch,
                      struct load_result *result, char *why, size_t why_size)
    __attribute__((warn_unused_result));

void load_result_free(struct load_result *result);

#endif
