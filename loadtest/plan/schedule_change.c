#include "loadtest/plan/schedule_change.h"

#include "common/check.h"

#include <math.h>
#include <stdio.h>

void schedule_rest(struct schedule *rest, const struct schedule *schedule, double from_s,
                   uint64_t seed)
{
    double at_s = 0;
    *rest = (struct schedule){.seed = seed};
    for (size_t i = 0; i < schedule->stage_count; i++) {
        struct schedule_stage stage = schedule->stages[i];
        double gone_s = fmin(fmax(from_s - at_s, 0), stage.duration_s);
        at_s += stage.duration_s;
        stage.from_per_s +=
            (stage.to_per_s - stage.from_per_s) * gone_s / schedule->stages[i].duration_s;
        stage.duration_s -= gone_s;
        if (stage.duration_s > 0)
            schedule_add_stage(rest, stage);
    }
    assert(rest->stage_count > 0);
}

bool schedule_hold_until(struct schedule *schedule, double until_s, char *why, size_t why_size)
{
    double rate_per_s = schedule->stages[schedule->stage_count - 1].to_per_s;
    double rest_s = until_s - schedule->duration_s;
    if (rest_s < -1e-9) {
        snprintf(why, why_size, "they take %.6g s, and %.6g s are left", schedule->duration_s,
                 until_s);
        return false;
    }
    if (rest_s > 0 && schedule->stage_count == SCHEDULE_STAGES_MAX) {
        snprintf(why, why_size, "there are more than %d stages", SCHEDULE_STAGES_MAX - 1);
        return false;
    }
    if (rest_s > 0)
        schedule_add_stage(schedule, (struct schedule_stage){rate_per_s, rate_per_s, rest_s});
    return true;
}

double schedule_area_before(const struct schedule *schedule, double at_s)
{
    double area = 0;
    for (size_t i = 0; i < schedule->stage_count && at_s > 0; i++) {
        const struct schedule_stage *stage = &schedule->stages[i];
        double for_s = fmin(at_s, stage->duration_s);
        double to_per_s =
            stage->from_per_s + (stage->to_per_s - stage->from_per_s) * for_s / stage->duration_s;
        area += for_s * (stage->from_per_s + to_per_s) / 2;
        at_s -= stage->duration_s;
    }
    return area;
}

static int64_t due_ns(const struct schedule *schedule, uint64_t index)
{
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    schedule_cursor_init(&cursor, schedule, 0, 1);
    cursor.next_index = index;
    bool is_there = schedule_next(&cursor, &arrival);
    assert(is_there);
    return arrival.at_ns;
}

uint64_t schedule_count_before(const struct schedule *schedule, int64_t at_ns)
{
    uint64_t low = 0;
    uint64_t high = schedule->count;
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    if (schedule->arrivals == ARRIVALS_POISSON) {
        schedule_cursor_init(&cursor, schedule, 0, 1);
        while (schedule_next(&cursor, &arrival) && arrival.at_ns < at_ns)
            low++;
        return low;
    }
    while (low < high) { /* arrivals come in the order of their index */
        uint64_t middle = low + (high - low) / 2;
        if (due_ns(schedule, middle) < at_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
