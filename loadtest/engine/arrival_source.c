#include "loadtest/engine/arrival_source.h"

#include "common/check.h"
#include "common/clock.h"

const struct load_segment *arrival_source_segment(const struct arrival_source *source)
{
    return load_segments_at(source->segments, source->index);
}

static void find_next(struct arrival_source *source)
{
    source->has_next = schedule_next(&source->cursor, &source->next);
    source->next.at_ns += arrival_source_segment(source)->from_ns;
}

static void begin_segment(struct arrival_source *source, unsigned index)
{
    source->index = index;
    schedule_cursor_init(&source->cursor, &arrival_source_segment(source)->schedule, source->part,
                         source->parts);
    find_next(source);
}

void arrival_source_init(struct arrival_source *source, struct load_segments *segments,
                         unsigned part, unsigned parts)
{
    *source = (struct arrival_source){.segments = segments, .part = part, .parts = parts};
    begin_segment(source, 0);
}

void arrival_source_turn(struct arrival_source *source)
{
    while (source->index + 1 < load_segments_count(source->segments)) {
        const struct load_segment *after = load_segments_at(source->segments, source->index + 1);
        if (source->has_next && source->next.at_ns < after->from_ns)
            return;
        begin_segment(source, source->index + 1);
    }
}

bool arrival_source_make(struct arrival_source *source, int64_t run_ns,
                         struct schedule_arrival *made)
{
    const struct schedule *schedule = &arrival_source_segment(source)->schedule;
    if (run_ns < 0)
        return false;
    source->has_next = run_ns < (int64_t)(schedule->duration_s * (double)CLOCK_NS_PER_S);
    if (!source->has_next)
        return false;
    source->next.at_ns = run_ns; /* nothing was intended before */
    source->next.feed_id = schedule_feed(schedule->seed, source->next.index);
    *made = source->next;
    source->next.index += source->parts;
    return true;
}

struct schedule_arrival arrival_source_take(struct arrival_source *source)
{
    assert(source->has_next);
    struct schedule_arrival taken = source->next;
    find_next(source);
    return taken;
}

bool arrival_source_is_over(struct arrival_source *source)
{
    arrival_source_turn(source);
    return !source->has_next &&
           load_segments_is_over(source->segments, source->index, &source->waits_at);
}
