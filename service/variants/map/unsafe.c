/*
 * map=unsafe: the same map with no lock, and Go's own check of it.
 * BUG, mended in mutex.c and, without any lock, in slots.c.
 *
 * The check is that of mapassign() in Go's runtime/map.go: a flag is looked at and flipped before
 * the write, and looked at and flipped back after it. It finds a second writer often, not always:
 * it is a detector, not a lock.
 */
#include "common/check.h"
#include "service/variants/map/map.h"
#include "service/variants/map/table.h"
#include "service/variants/map/writers.h"

#include <stdatomic.h>

struct result_map {
    struct map_table table; /* FLAW: written by every thread at once */
    const struct fatal_ops *fatal;
    /* Relaxed loads and stores cost what plain ones do and order nothing; but a plain flag's second
     * look would be optimized away, since the compiler may assume that no other thread writes it.
     */
    _Atomic unsigned writing;
    struct map_writers writers; /* for the dump */
};

static struct result_map *create(const struct fatal_ops *fatal, unsigned items)
{
    (void)items;
    struct result_map *map = calloc(1, sizeof *map);
    if (!map)
        return NULL;
    map->fatal = fatal;
    atomic_init(&map->writing, 0);
    if (!map_table_init(&map->table, 0)) {
        free(map);
        return NULL;
    }
    return map;
}

/* Looks at the flag and flips it: two steps, as in Go, and another thread may come between. */
static void begin_write(struct result_map *map)
{
    map_writers_begin(&map->writers);
    if (atomic_load_explicit(&map->writing, memory_order_relaxed) != 0) {
        map_writers_name_other(&map->writers);
        map->fatal->concurrent_map_writes();
    }
    map_pass(MAP_LOOKED);
    unsigned writing = atomic_load_explicit(&map->writing, memory_order_relaxed);
    atomic_store_explicit(&map->writing, writing ^ 1U, memory_order_relaxed);
}

/* The same after the write, where the flag must be set. */
static void end_write(struct result_map *map)
{
    map_pass(MAP_WRITTEN);
    map_writers_end();
    if (atomic_load_explicit(&map->writing, memory_order_relaxed) != 1) {
        map_writers_name_other(&map->writers);
        map->fatal->concurrent_map_writes();
    }
    unsigned writing = atomic_load_explicit(&map->writing, memory_order_relaxed);
    atomic_store_explicit(&map->writing, writing ^ 1U, memory_order_relaxed);
}

static bool put(struct result_map *map, unsigned index, const struct video *video)
{
    (void)index;
    /* FLAW: a second writer writes along. */
    begin_write(map);
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
    return map_table_holds(&map->table, ids, count);
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

const struct map_ops map_unsafe = {create, put, count, holds, each, destroy};
