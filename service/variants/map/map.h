/*
 * The toggle `map`: the map that a request's threads gather their rows in.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_MAP_MAP_H
#define FLASHOVER_SERVICE_VARIANTS_MAP_MAP_H

#include "service/db/queries.h"
#include "service/variants/fatal/fatal.h"

struct result_map;

struct map_ops {
    /* An empty map for so many items, or NULL without memory. `fatal` is what a detected concurrent
     * write ends in. */
    struct result_map *(*create)(const struct fatal_ops *fatal, unsigned items);
    /* Adds an item's video or replaces the one of the same id. `index`, 0..items-1, is the item's
     * own: no two items share one. False without memory. Called by many threads. */
    bool (*put)(struct result_map *map, unsigned index, const struct video *video);
    /* The following are for one thread, when all writers are done. */
    unsigned (*count)(const struct result_map *map);
    /* Whether it holds a video for each of these ids, all different and in the order of the items,
     * and nothing else: false where a write was lost. */
    bool (*holds)(const struct result_map *map, const int64_t *ids, unsigned count);
    void (*each)(const struct result_map *map,
                 void (*visit)(void *context, const struct video *video), void *context);
    void (*destroy)(struct result_map *map);
};

extern const struct map_ops map_mutex;
extern const struct map_ops map_slots;
extern const struct map_ops map_unchecked;
extern const struct map_ops map_unsafe;

/* Points inside a put at which a test, or --map-window-us, can hold a thread. */
enum map_point { MAP_LOOKED, MAP_WRITING, MAP_WRITTEN };

/* Called at each point by every put where it is not NULL, which it is by default: the race needs no
 * help. Set before threads start. */
extern void (*map_window)(enum map_point point);

/* A put is at this point: calls map_window where there is one. */
void map_pass(enum map_point point);

/* Makes map_window wait for so many microseconds while writing; 0 takes it away. */
void map_window_set_us(unsigned window_us);

#endif
