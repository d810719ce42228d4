/*
 * map=mutex: the map under one lock.
 * FIX of unsafe.c.
 */
#include "common/check.h"
#include "service/base/thread_state.h"
#include "service/variants/map/map.h"
#include "service/variants/map/table.h"

#include <pthread.h>

struct result_map {
    struct map_table table; /* (m) */
    const struct fatal_ops *fatal;
    pthread_mutex_t lock; /* FIX: one writer at a time */
};

static struct result_map *create(const struct fatal_ops *fatal, unsigned items)
{
    struct result_map *map = calloc(1, sizeof *map);
    if (!map)
        return NULL;
    map->fatal = fatal;
    CHECK_PTHREAD(pthread_mutex_init(&map->lock, NULL));
    if (!map_table_init(&map->table, items)) { /* it need not grow while others wait */
        free(map);
        return NULL;
    }
    return map;
}

/* FIX: a second writer waits here for the first. Only one that does have to wait is seen in "map
 * lock". */
static void begin_write(struct result_map *map)
{
    if (pthread_mutex_trylock(&map->lock) != 0) {
        enum thread_state former = thread_state_set(THREAD_MAP_LOCK);
        CHECK_PTHREAD(pthread_mutex_lock(&map->lock));
        thread_state_set(former);
    }
    map_pass(MAP_LOOKED);
}

static void end_write(struct result_map *map)
{
    map_pass(MAP_WRITTEN);
    CHECK_PTHREAD(pthread_mutex_unlock(&map->lock));
}

static bool put(struct result_map *map, unsigned index, const struct video *video)
{
    (void)index;
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
    CHECK_PTHREAD(pthread_mutex_destroy(&map->lock));
    map_table_destroy(&map->table);
    free(map);
}

const struct map_ops map_mutex = {create, put, count, holds, each, destroy};
