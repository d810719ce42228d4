#include "loadtest/schedule.h"

#include "common/check.h"
#include "common/clock.h"

#include <math.h>

void schedule_init(struct schedule *schedule, double rate_per_s, double duration_s, uint64_t seed)
{
    assert(rate_per_s > 0 && duration_s > 0);
    /* 0.1 * 30 is a little more than 3 in binary, 0.7 * 10 a little less than 7 */
    double count = floor(rate_per_s * duration_s + 1e-6);
    *schedule = (struct schedule){.rate_per_s = rate_per_s,
                                  .duration_s = duration_s,
                                  .seed = seed,
                                  .count = count < 1 ? 1 : (uint64_t)count};
}

void schedule_cursor_init(struct schedule_cursor *cursor, const struct schedule *schedule,
                          unsigned part, unsigned parts)
{
    assert(part < parts);
    *cursor = (struct schedule_cursor){.schedule = schedule, .next_index = part, .step = parts};
}

/* SplitMix64 (Steele, Lea, Flood 2014) as a hash of seed and index: the i-th feed needs no i-1
 * before it, so threads can share a schedule without talking to each other. */
static uint64_t random_at(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

bool schedule_next(struct schedule_cursor *cursor, struct schedule_arrival *out)
{
    const struct schedule *schedule = cursor->schedule;
    uint64_t index = cursor->next_index;
    if (index >= schedule->count)
        return false;
    cursor->next_index += cursor->step;
    *out = (struct schedule_arrival){
        .index = index,
        .at_ns = llround((double)index * (double)CLOCK_NS_PER_S / schedule->rate_per_s),
        .feed_id = (uint32_t)(1 + random_at(schedule->seed, index) % SCHEDULE_FEEDS)};
    return true;
}
