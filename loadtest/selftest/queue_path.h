/*
 * A queue with one server on paper: what each request of a given schedule waits, and how far such a
 * figure strays from one schedule to the next.
 */
#ifndef FLASHOVER_LOADTEST_SELFTEST_QUEUE_PATH_H
#define FLASHOVER_LOADTEST_SELFTEST_QUEUE_PATH_H

#include "loadtest/plan/schedule.h"
#include "loadtest/selftest/stall_scene.h"

/* Figures of a sample of response times, in ms. Percentiles are nearest-rank. */
struct queue_figures {
    double mean;
    double p99;
    double p99_9;
};

/* Sorts the `count` > 0 samples (ns) and takes the figures. */
struct queue_figures queue_figures_of(int64_t *samples_ns, size_t count);

/* The response times of the schedule's requests at one server that takes stall_scene_service_ns()
 * for each: Lindley's recursion (D. V. Lindley, The theory of queues with a single server, 1952):
 * a request waits as long as the one before waited and took, less the time between the two.
 * `samples_ns` has room for schedule->count. */
void queue_path_walk(const struct schedule *schedule, const struct stall_scene *scene,
                     int64_t *samples_ns);

/* The standard deviation of each figure from one seed of the schedule and the service to the next,
 * over `seeds` >= 2 of them. This is the error of one run's figure, whatever the dependence
 * between the waits of neighbours does to it, which a formula for independent samples would leave
 * out. False without memory. */
bool queue_path_spread(const struct schedule *schedule, const struct stall_scene *scene,
                       unsigned seeds, struct queue_figures *spread)
    __attribute__((warn_unused_result));

#endif
