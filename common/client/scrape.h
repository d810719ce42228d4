/*
 * Watches the service from its admin port while the load runs: a thread reads /metrics every 250
 * ms. A process_start_time_seconds that moved means that the process died and was started again:
 * that is how a crash is told from slowness. Counters begin at 0 in each new process, so the sums
 * here lack what happened between the last scrape and a crash.
 */
#ifndef FLASHOVER_COMMON_CLIENT_SCRAPE_H
#define FLASHOVER_COMMON_CLIENT_SCRAPE_H

#include "common/client/service_sample.h"
#include "common/client/service_series.h"
#include "common/stop.h"

#include <stdbool.h>
#include <stdint.h>

struct scrape_result {
    unsigned samples; /* scrapes that succeeded; without any, nothing else is valid */
    unsigned failed_samples;
    unsigned restarts;           /* at least: two between two scrapes count as one */
    int64_t first_restart_at_ns; /* when the first was noticed (monotonic); valid when > 0 */
    bool down_at_end;            /* it answered once, and no longer at the end */
    double pool_used_peak;       /* peaks are of the scrapes: NAN when the page lacks the figure */
    double pool_pending_peak;
    double threads_peak;
    double timeouts;       /* what the counters rose by, over all processes */
    double use_time_sum_s; /* as are the next */
    double use_time_count;
    double item_failures[ITEM_FAILURE_COUNT];
    struct service_sample last;
    struct service_series *series; /* owned by the result; scrape_result_free() */
};

struct scrape;

/* Scrapes once, then starts the thread. NULL with the reason in `why` when the token file
 * is unusable, or when something answers that is not the admin port or refuses the token. That
 * nothing answers at all is no error: the service may be down. `stop` is borrowed. */
struct scrape *scrape_start(const char *admin_url, const char *token_file, const struct stop *stop,
                            char *why, size_t why_size) __attribute__((warn_unused_result));

enum scrape_state {
    SCRAPE_NEVER, /* no scrape succeeded yet */
    SCRAPE_DOWN,  /* the latest scrape failed; the figures are older */
    SCRAPE_UP
};

/* The latest figures. Any thread. */
enum scrape_state scrape_latest(struct scrape *scrape, struct service_sample *out);

/* Ends the thread, scrapes a last time (until it succeeds, deadline_ns comes or `stop` is asked
 * for) and frees `scrape`; *out is then the caller's to free. */
void scrape_finish(struct scrape *scrape, int64_t deadline_ns, struct scrape_result *out);

void scrape_result_free(struct scrape_result *result);

/* The mean time that a connection was used, in seconds; NAN when unknown. */
double scrape_mean_use_s(const struct scrape_result *result);

#endif
