/*
 * An event loop that sends its share of a schedule: one thread, one epoll set, one timer, its own
 * connections. It never waits for an answer before it sends the next request (open loop), unless
 * it is told to show what a closed loop would have said.
 */
#ifndef FLASHOVER_LOADTEST_LOAD_WORKER_H
#define FLASHOVER_LOADTEST_LOAD_WORKER_H

#include "loadtest/exchange.h"
#include "loadtest/load_stats.h"
#include "loadtest/schedule.h"
#include "loadtest/slo.h"
#include "loadtest/stop.h"
#include "loadtest/target.h"

#include <pthread.h>
#include <stdatomic.h>

struct load_settings {
    struct target target;
    struct schedule schedule;
    enum load_check check;
    uint32_t items;         /* entries that a right answer has; LOAD_CHECK_FEED */
    int64_t timeout_ns;     /* from the intended start, retries included */
    uint64_t max_in_flight; /* over all threads */
    unsigned threads;
    unsigned retries;         /* attempts beyond the first, after a refused or cut connection or a
                                 502, 503 or 504 */
    int64_t retry_backoff_ns; /* before the first retry; doubled with each further one */
    uint64_t closed;          /* 0: open loop. Else as many callers, each of which sends its next
                                 request when the last one has ended, for the schedule's duration */
    struct slo_list slos;     /* what the run is held against at its end */
};

/* What the workers share. (a) */
struct load_shared {
    atomic_uint_fast64_t in_flight; /* what max_in_flight is held against */
};

/* What a live view shows, added up over workers. */
struct load_live {
    struct ledger ledger;
    uint64_t in_flight;
    /* The latest second, or slot where that is longer. */
    double window_s;
    uint64_t window_scheduled;
    uint64_t window_outcomes[OUTCOME_COUNT];
    struct coarse_histogram window_response;
};

struct load_worker;

/* How long a run takes at most, from the schedule's zero to the end of its last request. */
int64_t load_settings_span_ns(const struct load_settings *settings);

/* Makes a worker for part `part` of the schedule. `settings`, `shared` and `stop` are borrowed
 * until it is freed. NULL when descriptors or memory ran out. */
struct load_worker *load_worker_new(const struct load_settings *settings,
                                    struct load_shared *shared, const struct stop *stop,
                                    unsigned part) __attribute__((warn_unused_result));

/* Runs until each of its requests has ended, or `stop` is asked for. start_ns: monotonic time of
 * the schedule's zero. Returns 0, or the error of pthread_create. */
int load_worker_start(struct load_worker *worker, int64_t start_ns);

/* Adds what the worker has seen until now. Any thread; waits for the worker's current batch of
 * events, a few ms at most. */
void load_worker_look(struct load_worker *worker, struct load_live *into);

/* Waits for its end. Its measurements may be read from then on. */
const struct load_stats *load_worker_join(struct load_worker *worker);

/* When its last request ended (monotonic); 0 while it runs. May be asked from any thread. */
int64_t load_worker_done_at_ns(const struct load_worker *worker);

void load_worker_free(struct load_worker *worker);

#endif
