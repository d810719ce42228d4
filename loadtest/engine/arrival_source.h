/*
 * A worker's share of a run's arrivals: those of the segment that is in force, until the next one
 * begins. Used by one thread.
 */
#ifndef FLASHOVER_LOADTEST_ENGINE_ARRIVAL_SOURCE_H
#define FLASHOVER_LOADTEST_ENGINE_ARRIVAL_SOURCE_H

#include "loadtest/plan/segments.h"

struct arrival_source {
    struct load_segments *segments;
    unsigned part, parts;
    unsigned index; /* of the segment in force */
    struct schedule_cursor cursor;
    struct schedule_arrival next; /* after the run's start; when has_next */
    bool has_next;
    unsigned waits_at; /* for the other workers: load_segments_is_over() */
};

/* Arrivals whose index is `part` modulo `parts` in each segment. */
void arrival_source_init(struct arrival_source *source, struct load_segments *segments,
                         unsigned part, unsigned parts);

/* Turns to a segment that has begun, or has no older arrival before it. To be called before the
 * next arrival is looked at. */
void arrival_source_turn(struct arrival_source *source);

/* Whether all were taken, by all workers: if so, no other segment can be added. To be asked by a
 * worker that has no request in flight. */
bool arrival_source_is_over(struct arrival_source *source);

/* The segment of the next arrival. */
const struct load_segment *arrival_source_segment(const struct arrival_source *source);

/* Closed loop: makes one that is due at run_ns after the start. False: not yet, or no longer. */
bool arrival_source_make(struct arrival_source *source, int64_t run_ns,
                         struct schedule_arrival *made);

/* Takes the next arrival; there must be one. */
struct schedule_arrival arrival_source_take(struct arrival_source *source);

#endif
