/*
 * One run of load: workers started together, watched, joined, their measurements merged and the
 * books closed.
 */
#ifndef FLASHOVER_LOADTEST_LOAD_RUN_H
#define FLASHOVER_LOADTEST_LOAD_RUN_H

#include "loadtest/load_worker.h"
#include "loadtest/scrape.h"

#include <stdio.h>

/* Where the live view goes. */
struct load_view {
    FILE *stream;      /* NULL: nowhere */
    bool is_terminal;  /* one line that is written over; else a line a second */
    const char *label; /* in front of each line, "" for none */
};

struct load_result {
    struct load_stats *stats; /* owned */
    int64_t start_ns;         /* monotonic: the schedule's zero */
    int64_t elapsed_ns;       /* from there to the end of the last request */
    int stop_reason;          /* 0, or the signal that cut the run short */
    bool balanced;
    char imbalance[128];          /* which sum is off, when not balanced */
    bool has_service;             /* an admin URL was given and answered at least once */
    struct scrape_result service; /* valid when has_service */
};

/* Runs the load to its end, or until `stop`. `scrape` may be NULL; it is finished and freed in any
 * case, a service that is down being given settle_ns to come back. Returns 0, or -1 with the reason
 * in `why` when the run could not be started; `result` must be freed only after 0. */
int load_run_execute(const struct load_settings *settings, struct scrape *scrape, int64_t settle_ns,
                     struct stop *stop, const struct load_view *view, struct load_result *result,
                     char *why, size_t why_size) __attribute__((warn_unused_result));

void load_result_free(struct load_result *result);

/* Lets the process open as many descriptors as it may. Returns how many that is. */
uint64_t load_run_raise_descriptors(void);

/* The live view for a terminal on stderr, or for a file. */
struct load_view load_run_view(const char *label);

#endif
