#include "loadtest/report/series_json.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/json.h"
#include "loadtest/report/run_json.h"

#include <math.h>

#define STEPS_PER_HALVING 5

unsigned series_json_slots(const struct load_result *result)
{
    unsigned slots = timeline_slot_at(&result->stats->timeline, result->elapsed_ns) + 1;
    assert(slots <= result->stats->timeline.slot_count);
    return slots;
}

static json_t *latencies_json(const struct coarse_histogram *histogram)
{
    static const struct {
        const char *key;
        double percent;
    } percentiles[] = {{"p50", 50}, {"p99", 99}, {"max", 100}};
    if (histogram->count == 0)
        return json_null();
    json_t *root = json_object();
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++)
        json_object_set_new(
            root, percentiles[i].key,
            json_real((double)coarse_histogram_percentile_us(histogram, percentiles[i].percent) /
                      1e3));
    return root;
}

static json_t *point_json(const struct service_point *point)
{
    const struct service_sample *sample = &point->sample;
    if (!point->is_up)
        return json_pack("{s:b, s:i}", "up", 0, "restarts", (int)point->restarts);
    json_t *threads = json_object();
    for (size_t i = 0; i < THREAD_KIND_COUNT; i++)
        json_object_set_new(threads, service_sample_thread_state((enum thread_kind)i),
                            json_real_or_null(sample->threads_by_state[i]));
    return json_pack("{s:b, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "up", 1, "restarts",
                     (int)point->restarts, "pool_used", json_real_or_null(sample->pool_used),
                     "pool_idle", json_real_or_null(sample->pool_idle), "pool_max",
                     json_real_or_null(sample->pool_max), "pool_pending",
                     json_real_or_null(sample->pool_pending), "timeouts",
                     json_real_or_null(sample->timeouts), "backends",
                     json_real_or_null(sample->backends), "threads", threads);
}

/* Of the looks in a slot, the one that shows most: down beats up, more waiters beat fewer, and
 * these a page that does not name them. */
static bool shows_more(const struct service_point *a, const struct service_point *b)
{
    if (a->is_up != b->is_up)
        return b->is_up;
    return a->is_up &&
           (isnan(b->sample.pool_pending) || a->sample.pool_pending >= b->sample.pool_pending);
}

static const struct service_point *point_of(const struct load_result *result, unsigned slot)
{
    const struct service_series *series = result->has_service ? result->service.series : NULL;
    const struct timeline *timeline = &result->stats->timeline;
    int64_t from_ns = result->start_ns + slot * timeline->slot_ns;
    const struct service_point *best = NULL;
    for (size_t i = 0; series && i < series->count; i++) {
        const struct service_point *point = &series->points[i];
        if (point->at_ns >= from_ns && point->at_ns < from_ns + timeline->slot_ns &&
            (!best || shows_more(point, best)))
            best = point;
    }
    return best;
}

json_t *series_json_build(const struct load_result *result)
{
    const struct timeline *timeline = &result->stats->timeline;
    json_t *array = json_array();
    for (unsigned i = 0; i < series_json_slots(result); i++) {
        const struct timeline_slot *slot = &timeline->slots[i];
        const struct service_point *point = point_of(result, i);
        json_t *outcomes = json_object();
        for (size_t j = 0; j < OUTCOME_COUNT; j++)
            json_object_set_new(outcomes, ledger_outcome_key((enum outcome)j),
                                json_integer(slot->outcomes[j]));
        json_array_append_new(
            array, json_pack("{s:f, s:i, s:i, s:o, s:o, s:o, s:o}", "t_s",
                             (double)(i * timeline->slot_ns) / (double)CLOCK_NS_PER_S, "scheduled",
                             (int)slot->scheduled, "attempts", (int)slot->attempts, "outcomes",
                             outcomes, "response_ms", latencies_json(&slot->response), "service_ms",
                             latencies_json(&slot->service), "service",
                             point ? point_json(point) : json_null()));
    }
    return array;
}

static json_t *step_json(const struct histogram *histogram, double quantile)
{
    double rank = ceil(quantile * (double)histogram->count - 1e-6);
    return json_pack("[f, f, I, o]",
                     (double)histogram_percentile_us(histogram, 100 * quantile) / 1e3, quantile,
                     (json_int_t)(rank < 1 ? 1 : rank), json_real_or_null(1 / (1 - quantile)));
}

json_t *series_json_spectrum(const struct histogram *histogram)
{
    json_t *array = json_array();
    double distance = 1;
    if (histogram->count == 0)
        return array;
    for (; (double)histogram->count * distance >= 1; distance /= 2)
        for (int i = 0; i < STEPS_PER_HALVING; i++)
            json_array_append_new(
                array, step_json(histogram, 1 - distance * (1 - 0.5 * i / STEPS_PER_HALVING)));
    json_array_append_new(array, step_json(histogram, 1));
    return array;
}
