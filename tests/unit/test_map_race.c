/*
 * The unsafe map with two writers at once, brought together by barriers, not by luck. A test
 * program of its own: it does what ThreadSanitizer exists to report, and `make tsan` asserts that
 * it is reported.
 */
#include "tests/unit/support.h"

#include "service/variants/map.h"

#include <pthread.h>
#include <stdatomic.h>

static _Atomic unsigned fatal_calls;

static void count_fatal(void)
{
    atomic_fetch_add(&fatal_calls, 1);
}

static const struct fatal_ops fatal_counted = {"counted", count_fatal};

static pthread_barrier_t barrier;

/* Both threads go on from each point together: both have looked before either flips the flag, and
 * both have flipped it before either writes. */
static void keep_together(enum map_point point)
{
    (void)point;
    pthread_barrier_wait(&barrier);
}

struct writer {
    struct result_map *map;
    struct video video;
    pthread_t thread;
};

static void *writer_main(void *argument)
{
    struct writer *writer = argument;
    bool ok = map_unsafe.put(writer->map, &writer->video);
    assert(ok);
    return NULL;
}

/* Neither look before the write finds anything, so only the one after it can. Were that optimized
 * away, this would count nothing. */
static void test_second_look_finds_writers_who_looked_together(void **state)
{
    struct result_map *map = map_unsafe.create(&fatal_counted);
    struct writer writers[2] = {{.map = map, .video = {.id = 1}}, {.map = map, .video = {.id = 2}}};
    (void)state;
    CHECK_PTHREAD(pthread_barrier_init(&barrier, NULL, 2));
    map_window = keep_together;
    for (int i = 0; i < 2; i++)
        CHECK_PTHREAD(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]));
    for (int i = 0; i < 2; i++)
        CHECK_PTHREAD(pthread_join(writers[i].thread, NULL));
    map_window = NULL;
    CHECK_PTHREAD(pthread_barrier_destroy(&barrier));
    assert_true(fatal_calls >= 1);
    map_unsafe.destroy(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_look_finds_writers_who_looked_together),
    };
    return cmocka_run_group_tests_name("map_race", tests, NULL, NULL);
}
