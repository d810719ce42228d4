/*
 * map=slots: one slot per item, nothing shared.
 * FIX of unchecked.c and of unsafe.c.
 */
#include "common/check.h"
#include "service/variants/map/map.h"

struct slot {
    bool filled;
    struct video video;
};

/* FIX: each slot is written by its item's thread alone, and read once that thread is done. */
struct result_map {
    unsigned items;
    struct slot slots[];
};

static struct result_map *create(const struct fatal_ops *fatal, unsigned items)
{
    (void)fatal;
    struct result_map *map = calloc(1, sizeof *map + items * sizeof map->slots[0]);
    if (!map)
        return NULL;
    map->items = items;
    return map;
}

static void begin_write(struct result_map *map)
{
    (void)map;
    map_pass(MAP_LOOKED);
}

static void end_write(struct result_map *map)
{
    (void)map;
    map_pass(MAP_WRITTEN);
}

static bool put(struct result_map *map, unsigned index, const struct video *video)
{
    assert(index < map->items);
    begin_write(map);
    map_pass(MAP_WRITING);
    /* FIX: there is no second writer. */
    map->slots[index] = (struct slot){.filled = true, .video = *video};
    end_write(map);
    return true;
}

static unsigned count(const struct result_map *map)
{
    unsigned filled = 0;
    for (unsigned i = 0; i < map->items; i++)
        filled += map->slots[i].filled;
    return filled;
}

static bool holds(const struct result_map *map, const int64_t *ids, unsigned count)
{
    bool holds = map->items == count;
    for (unsigned i = 0; holds && i < count; i++)
        holds = map->slots[i].filled && map->slots[i].video.id == ids[i];
    return holds;
}

static void each(const struct result_map *map,
                 void (*visit)(void *context, const struct video *video), void *context)
{
    for (unsigned i = 0; i < map->items; i++)
        if (map->slots[i].filled)
            visit(context, &map->slots[i].video);
}

static void destroy(struct result_map *map)
{
    free(map);
}

const struct map_ops map_slots = {create, put, count, holds, each, destroy};
