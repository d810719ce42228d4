/*
 * An event loop that sends its share of a schedule: one thread, one epoll set, one timer, its own
 * connections. It never waits for an answer before it sends the next request (open loop).
 */
#ifndef FLASHOVER_LOADTEST_LOAD_WORKER_H
#define FLASHOVER_LOADTEST_LOAD_WORKER_H

#include "loadtest/load_stats.h"
#include "loadtest/schedule.h"
#include "loadtest/stop.h"
#include "loadtest/target.h"

#include <pthread.h>
#include <stdatomic.h>

enum load_check { LOAD_CHECK_STATUS, LOAD_CHECK_FEED };

struct load_settings {
    struct target target;
    struct schedule schedule;
    enum load_check check;
    uint32_t items;         /* entries that a right answer has; LOAD_CHECK_FEED */
    int64_t timeout_ns;     /* from the intended start */
    uint64_t max_in_flight; /* over all threads */
    unsigned threads;
};

/* Counters that all workers move and the progress line reads. (a) all of them. */
struct load_progress {
    atomic_uint_fast64_t scheduled;
    atomic_uint_fast64_t in_flight; /* also what max_in_flight is held against */
    atomic_uint_fast64_t ok;
    atomic_uint_fast64_t failed;
};

struct load_worker;

/* Makes a worker for part `part` of the schedule. `settings`, `progress` and `stop` are borrowed
 * until it is freed. NULL when descriptors or memory ran out. */
struct load_worker *load_worker_new(const struct load_settings *settings,
                                    struct load_progress *progress, const struct stop *stop,
                                    unsigned part) __attribute__((warn_unused_result));

/* Runs until each of its requests has ended, or `stop` is asked for. start_ns: monotonic time of
 * the schedule's zero. Returns 0, or the error of pthread_create. */
int load_worker_start(struct load_worker *worker, int64_t start_ns);

/* Waits for its end. Its measurements may be read from then on. */
const struct load_stats *load_worker_join(struct load_worker *worker);

/* When its last request ended (monotonic); 0 while it runs. May be asked from any thread. */
int64_t load_worker_done_at_ns(const struct load_worker *worker);

void load_worker_free(struct load_worker *worker);

#endif
