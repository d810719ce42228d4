/*
 * What the stall server does with its requests: how long each takes, which are held back, and
 * which are answered wrongly or not at all. A scene decides by the number and the time of a request
 * alone, so that what a load tester should see of it can be worked out beforehand.
 */
#ifndef FLASHOVER_LOADTEST_SELFTEST_STALL_SCENE_H
#define FLASHOVER_LOADTEST_SELFTEST_STALL_SCENE_H

#include "common/text.h"

#include <stdbool.h>
#include <stdint.h>

#define STALL_SLOTS_MAX 16

enum stall_kind {
    STALL_RIGHT,   /* 200 with the feed as it should be */
    STALL_WRONG,   /* 200 with a feed that has defects */
    STALL_ERROR,   /* 503, as the service words a checkout that timed out */
    STALL_RESET,   /* half of the answer, then a TCP reset */
    STALL_HOLE,    /* nothing at all */
    STALL_GARBAGE, /* bytes that are no HTTP */
    STALL_LATE,    /* as RIGHT, after late_ns more */
    STALL_KIND_COUNT
};

/* How one request is answered. The entries are for WRONG. */
struct stall_answer {
    enum stall_kind kind;
    uint32_t lost;      /* entries left out */
    uint32_t foreign;   /* entries of videos that the feed does not hold, on top */
    uint32_t duplicate; /* entries that are there twice */
    uint32_t corrupt;   /* entries with wrong views; all of them together at most `items` */
};

/* Times are after the first request, in nanoseconds. */
struct stall_scene {
    unsigned slots;      /* requests served at once, first come first served; 0: any number */
    int64_t service_ns;  /* what one takes; the mean where is_exponential */
    bool is_exponential; /* service times are drawn at random, by `seed` */
    uint64_t seed;
    int64_t stall_from_ns;  /* nothing is begun from here … */
    int64_t stall_until_ns; /* … until here; 0: no stall */
    int64_t late_ns;        /* what STALL_LATE takes on top */
    uint32_t items;         /* entries of a feed, 1..1000 */
    /* Sets `answer`, which comes as RIGHT, for request `number` (0, 1, …); NULL: all are right. */
    void (*choose)(uint64_t number, struct stall_answer *answer);
};

/* When each slot is free again. */
struct stall_slots {
    int64_t free_at_ns[STALL_SLOTS_MAX];
};

/* The service time of request `number`. */
int64_t stall_scene_service_ns(const struct stall_scene *scene, uint64_t number);

/* Gives request `number`, which arrived at arrived_ns, the slot that is free first; returns when it
 * is done. Requests must come in the order of their arrival. */
int64_t stall_scene_finish_ns(const struct stall_scene *scene, struct stall_slots *slots,
                              uint64_t number, int64_t arrived_ns);

/* Appends what goes over the wire for one answer, head and body; nothing for a HOLE, and all of it
 * for a RESET. */
void stall_scene_write(const struct stall_scene *scene, const struct stall_answer *answer,
                       uint64_t number, uint32_t feed_id, struct text *out);

#endif
