#include "loadtest/selftest/queue_path.h"

#include "common/check.h"
#include "loadtest/base/samples.h"

#include <math.h>

/* Seeds far from those that anyone runs with. */
#define SPREAD_SEED UINT64_C(1000003)

struct queue_figures queue_figures_of(int64_t *samples_ns, size_t count)
{
    samples_sort(samples_ns, count);
    return (struct queue_figures){.mean = samples_mean_ms(samples_ns, count),
                                  .p99 = samples_percentile_ms(samples_ns, count, 99),
                                  .p99_9 = samples_percentile_ms(samples_ns, count, 99.9)};
}

void queue_path_walk(const struct schedule *schedule, const struct stall_scene *scene,
                     int64_t *samples_ns)
{
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    int64_t response_ns = 0; /* of the request before */
    int64_t last_at_ns = 0;
    schedule_cursor_init(&cursor, schedule, 0, 1);
    while (schedule_next(&cursor, &arrival)) {
        int64_t wait_ns = response_ns - (arrival.at_ns - last_at_ns);
        if (wait_ns < 0)
            wait_ns = 0;
        response_ns = wait_ns + stall_scene_service_ns(scene, arrival.index);
        last_at_ns = arrival.at_ns;
        samples_ns[arrival.index] = response_ns;
    }
}

static double deviation(double sum, double squares, unsigned count)
{
    return sqrt(fmax(squares - sum * sum / count, 0) / (count - 1));
}

bool queue_path_spread(const struct schedule *schedule, const struct stall_scene *scene,
                       unsigned seeds, struct queue_figures *spread)
{
    struct queue_figures sum = {0};
    struct queue_figures squares = {0};
    assert(seeds >= 2);
    int64_t *samples_ns = malloc(schedule->count * sizeof samples_ns[0]);
    if (!samples_ns)
        return false;
    for (unsigned i = 0; i < seeds; i++) {
        struct schedule other = *schedule;
        struct stall_scene its_scene = *scene;
        other.seed = its_scene.seed = SPREAD_SEED + i;
        schedule_set_arrivals(&other, schedule->arrivals);
        queue_path_walk(&other, &its_scene, samples_ns);
        struct queue_figures one = queue_figures_of(samples_ns, schedule->count);
        sum.mean += one.mean;
        sum.p99 += one.p99;
        sum.p99_9 += one.p99_9;
        squares.mean += one.mean * one.mean;
        squares.p99 += one.p99 * one.p99;
        squares.p99_9 += one.p99_9 * one.p99_9;
    }
    free(samples_ns);
    spread->mean = deviation(sum.mean, squares.mean, seeds);
    spread->p99 = deviation(sum.p99, squares.p99, seeds);
    spread->p99_9 = deviation(sum.p99_9, squares.p99_9, seeds);
    return true;
}
