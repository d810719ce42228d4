/*
 * What happened within the last second, for a live view: a ring of short slots, the same for a run
 * of a second and for one of a day. (The timeline's slots are as wide as the run is long.) Not
 * shared between threads, but by the owner of a lock.
 */
#ifndef FLASHOVER_LOADTEST_BOOKS_RECENT_H
#define FLASHOVER_LOADTEST_BOOKS_RECENT_H

#include "loadtest/books/timeline.h"

enum { RECENT_SLOT_MS = 250, RECENT_WINDOW = 4, RECENT_SLOTS = 8 };

struct recent_slot {
    int64_t number; /* from 1: of the slots since the run's start; 0: unused */
    uint32_t scheduled;
    uint32_t outcomes[OUTCOME_COUNT];
    struct coarse_histogram response;
    int64_t censored_from_ns; /* as in struct load_stats, of this slot; 0: all were answered */
};

struct recent {
    struct recent_slot slots[RECENT_SLOTS];
};

/* The sum of the slots that were over at a moment; added up over workers. */
struct recent_figures {
    double window_s; /* 0: none is over yet */
    uint64_t scheduled;
    uint64_t outcomes[OUTCOME_COUNT];
    struct coarse_histogram response;
    int64_t censored_from_ns; /* the smallest of the slots'; 0: all were answered */
};

/* Whether this percentile of the response times is only known to be at least what it says, as
 * load_stats_is_censored(). */
bool recent_is_at_least(const struct recent_figures *figures, double percent);

/* The slot of a moment, in ns after the run's start, emptied where it was an older one's. NULL: it
 * is too long ago. */
struct recent_slot *recent_slot_at(struct recent *recent, int64_t at_ns);

/* Adds the last RECENT_WINDOW slots that are over at this moment. */
void recent_add(const struct recent *recent, int64_t at_ns, struct recent_figures *into);

#endif
