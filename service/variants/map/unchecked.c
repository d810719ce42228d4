/*
 * map=unchecked: the same map with no lock, and nothing that looks for a second writer.
 * BUG, mended in slots.c and, by a lock, in mutex.c.
 *
 * Two writers at once lose entries, and nothing reports it: the caller gets a 200 that lacks
 * something.
 */
#include "service/variants/map/map.h"
#include "service/variants/map/table.h"

#include <stdlib.h>

struct result_map {
    struct map_table table; /* FLAW: written by every thread at once */
};

static struct result_map *create(const struct fatal_ops *fatal, unsigned items)
{
    (void)fatal, (void)items;
    struct result_map *map = calloc(1, sizeof *map);
    if (!map)
        return NULL;
    if (!map_table_init(&map->table, 0)) {
        free(map);
        return NULL;
    }
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
    (void)index;
    begin_write(map);
    /* FLAW: a second writer writes along. */
    bool ok = map_table_put(&map->table, video);
    end_write(map);
    return ok;
}

static unsigned count(const struct result_map *map)
{
    return map->table.count;
}

static bool holds(const struct result_map *map, const int64_t *ids, unsigned count)
{
    /* FLAW: the map counts as whole, whatever it lacks. */
    (void)map, (void)ids, (void)count;
    return true;
}

static void each(const struct result_map *map,
                 void (*visit)(void *context, const struct video *video), void *context)
{
    map_table_each(&map->table, visit, context);
}

static void destroy(struct result_map *map)
{
    if (!map)
        return;
    map_table_destroy(&map->table);
    free(map);
}

const struct map_ops map_unchecked = {create, put, count, holds, each, destroy};
