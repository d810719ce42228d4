/*
 * An event loop that sends its share of a schedule: one thread, one epoll set, one timer, its own
 * connections. It does not wait for an answer before it sends the next request (open loop), except
 * in a closed loop, where each caller does.
 */
#ifndef FLASHOVER_LOADTEST_ENGINE_LOAD_WORKER_H
#define FLASHOVER_LOADTEST_ENGINE_LOAD_WORKER_H

#include "common/stop.h"
#include "loadtest/books/load_stats.h"
#include "loadtest/engine/exchange.h"
#include "loadtest/engine/retry_budget.h"

#include <pthread.h>
#include <stdatomic.h>

/* What the workers share. (a) */
struct load_shared {
    atomic_uint_fast64_t in_flight; /* what max_in_flight is held against */
    struct retry_budget retry_budget;
    struct load_segments *segments; /* (i) */
};

/* What a live view shows, added up over workers. */
struct load_live {
    struct ledger ledger;
    uint64_t in_flight;
    struct recent_figures latest; /* of the last second */
};

struct load_worker;

/* Makes a worker for part `part` of the schedule. `settings`, `shared` and `stop` are borrowed
 * until it is freed. NULL when descriptors or memory ran out. */
struct load_worker *load_worker_new(const struct load_settings *settings,
                                    struct load_shared *shared, const struct stop *stop,
                                    unsigned part) __attribute__((warn_unused_result));

/* Runs until each of its requests has ended, or `stop` is asked for. start_ns: monotonic time of
 * the schedule's zero. False when no thread can be started. */
bool load_worker_start(struct load_worker *worker, int64_t start_ns)
    __attribute__((warn_unused_result));

/* Adds what the worker has seen until now. Any thread; waits for the worker's current batch of
 * events, a few ms at most. */
void load_worker_snapshot(struct load_worker *worker, struct load_live *into);

/* Adds its rows first..to-1 of the seconds, as they are now. Likewise. Returns a time after the
 * run's start: each of its requests due before that has ended; CLOCK_NEVER: all have. */
int64_t load_worker_add_seconds(struct load_worker *worker, struct seconds *into, unsigned first,
                                unsigned to);

/* Waits for its end. Its measurements may be read from then on. */
const struct load_stats *load_worker_join(struct load_worker *worker);

/* When its last request ended (monotonic); 0 while it runs. May be asked from any thread. */
int64_t load_worker_done_at_ns(const struct load_worker *worker);

void load_worker_free(struct load_worker *worker);

#endif
