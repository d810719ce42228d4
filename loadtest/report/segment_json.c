#include "loadtest/report/segment_json.h"

#include "common/clock.h"

#include <stdio.h>

json_t *stages_json(const struct schedule *schedule)
{
    json_t *array = json_array();
    for (size_t i = 0; i < schedule->stage_count; i++) {
        const struct schedule_stage *stage = &schedule->stages[i];
        json_array_append_new(array, json_pack("{s:f, s:f, s:f}", "from", stage->from_per_s, "to",
                                               stage->to_per_s, "duration_s", stage->duration_s));
    }
    return array;
}

json_t *segment_json(const struct load_segment *segment, uint64_t requests)
{
    bool is_feed = segment->check == LOAD_CHECK_FEED;
    const struct schedule *schedule = &segment->schedule;
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)schedule_hash(schedule));
    return json_pack("{s:f, s:s, s:s, s:o, s:I, s:I, s:s, s:o, s:i, s:f, s:f}", "from_s",
                     (double)segment->from_ns / (double)CLOCK_NS_PER_S, "url", segment->target.url,
                     "arrivals", schedule_arrivals_name(schedule->arrivals), "stages",
                     stages_json(schedule), "requests", (json_int_t)requests, "seed",
                     (json_int_t)schedule->seed, "schedule_hash", hash, "items",
                     is_feed ? json_integer(segment->items) : json_null(), "retries",
                     (int)segment->retries, "retry_budget_percent", segment->retry_budget_percent,
                     "share_percent", segment->share_percent);
}
