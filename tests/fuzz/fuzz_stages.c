/*
 * Stages as a user writes them, and the schedule made from them. Input: a byte (1: Poisson
 * arrivals), then the text.
 */
#include "loadtest/plan/schedule.h"

#include "common/clock.h"
#include "tests/fuzz/input.h"

#include <math.h>

#define ARRIVALS_WALKED 2000

static void check_arrival(const struct schedule *schedule, const struct schedule_arrival *arrival,
                          int64_t before_ns)
{
    assert(arrival->at_ns >= before_ns);
    assert((double)arrival->at_ns <= schedule->duration_s * (double)CLOCK_NS_PER_S + 1);
    assert(arrival->feed_id >= 1 && arrival->feed_id <= SCHEDULE_FEEDS);
}

static void walk(const struct schedule *schedule)
{
    struct schedule_cursor cursor;
    struct schedule_arrival arrival = {0};
    uint64_t walked = 0;
    schedule_cursor_init(&cursor, schedule, 0, 1);
    for (int64_t before_ns = 0; walked < ARRIVALS_WALKED && schedule_next(&cursor, &arrival);
         walked++) {
        assert(arrival.index == walked);
        check_arrival(schedule, &arrival, before_ns);
        before_ns = arrival.at_ns;
    }
    assert(walked == (schedule->count < ARRIVALS_WALKED ? schedule->count : ARRIVALS_WALKED));
    if (schedule->arrivals == ARRIVALS_POISSON || schedule->count > UINT32_MAX)
        return;
    /* checks the last one, too: all rounding errors have added up there */
    schedule_cursor_init(&cursor, schedule, (unsigned)schedule->count - 1,
                         (unsigned)schedule->count);
    assert(schedule_next(&cursor, &arrival));
    check_arrival(schedule, &arrival, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    struct schedule schedule;
    char why[160] = "";
    bool is_poisson = fuzz_byte(&input) & 1;
    char *text = fuzz_string(&input);
    if (!schedule_parse(&schedule, text, 1, why, sizeof why)) {
        assert(strlen(why) > 0);
    } else {
        assert(schedule.stage_count >= 1 && schedule.stage_count <= SCHEDULE_STAGES_MAX);
        assert(schedule.duration_s > 0 && schedule.duration_s <= SCHEDULE_TIME_MAX_S);
        assert(schedule.expected >= 1 && schedule.count >= 1);
        assert(fabs((double)schedule.count - schedule.expected) <= 1);
        assert(schedule_peak_rate(&schedule) <= SCHEDULE_RATE_MAX);
        assert(schedule_mean_rate(&schedule) <= schedule_peak_rate(&schedule) * (1 + 1e-9));
        if (is_poisson && schedule.count <= ARRIVALS_WALKED)
            schedule_set_arrivals(&schedule, ARRIVALS_POISSON);
        walk(&schedule);
    }
    free(text);
    return 0;
}
