/*
 * Each map with several writers at once. This is a program of its own because two of the maps race
 * on purpose: `make tsan` asserts that ThreadSanitizer reports those races, and no other. An
 * argument is the name of the one test to run.
 */
#include "tests/support/support.h"

#include "service/variants/map/map.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

static _Atomic unsigned fatal_calls;

static void count_fatal(void)
{
    atomic_fetch_add(&fatal_calls, 1);
}

/* The writers go on after a detected write, as if there were no looks. */
static const struct fatal_ops fatal_counted = {count_fatal};

static pthread_barrier_t barrier;
static sem_t put_done; /* posted after each put */

static struct video video(int64_t id)
{
    struct video out = {.id = id, .views = 2 * id, .likes = 3 * id};
    snprintf(out.title, sizeof out.title, "Video %lld", (long long)id);
    return out;
}

struct writer {
    const struct map_ops *ops;
    struct result_map *map;
    int64_t first, step, last;
    pthread_t thread;
};

static void *writer_main(void *argument)
{
    const struct writer *writer = argument;
    for (int64_t id = writer->first; id <= writer->last; id += writer->step) {
        struct video one = video(id);
        bool ok = writer->ops->put(writer->map, (unsigned)id - 1, &one);
        assert(ok);
        CHECK_PTHREAD(sem_post(&put_done));
    }
    return NULL;
}

static void run_writers(struct writer *writers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        CHECK_PTHREAD(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]));
    for (unsigned i = 0; i < count; i++)
        CHECK_PTHREAD(pthread_join(writers[i].thread, NULL));
}

/* A barrier, not luck, keeps both threads together at each point: both look before either flips the
 * flag, and both flip it before either writes. Their last looks come one after the other, because
 * at the same instant each could miss the other. */
static void keep_together(enum map_point point)
{
    static _Thread_local bool is_second;
    if (point != MAP_WRITTEN)
        is_second =
            pthread_barrier_wait(&barrier) != 0; /* one gets PTHREAD_BARRIER_SERIAL_THREAD */
    else if (is_second)
        sem_wait(&put_done);
}

/* The looks before the writes find nothing, so only a look after a write can. If that were
 * optimized away, this would count nothing. */
static void test_second_look_finds_writers_who_looked_together(void **state)
{
    struct result_map *map = map_unsafe.create(&fatal_counted, 2);
    struct writer writers[] = {{.ops = &map_unsafe, .map = map, .first = 1, .step = 1, .last = 1},
                               {.ops = &map_unsafe, .map = map, .first = 2, .step = 1, .last = 2}};
    (void)state;
    CHECK_PTHREAD(pthread_barrier_init(&barrier, NULL, 2));
    map_window = keep_together;
    run_writers(writers, 2);
    map_window = NULL;
    CHECK_PTHREAD(pthread_barrier_destroy(&barrier));
    assert_true(fatal_calls >= 1);
    map_unsafe.destroy(map);
}

enum { WRITERS = 4, ITEMS = 300 };

struct content {
    bool seen[ITEMS + 1];
    unsigned entries;
    bool foreign;
};

static void look_at(void *context, const struct video *found)
{
    struct content *content = context;
    bool known = found->id >= 1 && found->id <= ITEMS && !content->seen[found->id];
    struct video expected = video(found->id);
    content->entries++;
    if (!known || found->views != expected.views || found->likes != expected.likes ||
        strcmp(found->title, expected.title) != 0)
        content->foreign = true;
    else
        content->seen[found->id] = true;
}

/* Fills a map from several threads at once. Returns true if it is complete and right. holds() must
 * return the same, except for map_unchecked, which is always believed. */
static bool race(const struct map_ops *ops)
{
    struct result_map *map = ops->create(&fatal_counted, ITEMS);
    struct writer writers[WRITERS];
    struct content content = {0};
    int64_t ids[ITEMS];
    for (unsigned i = 0; i < ITEMS; i++)
        ids[i] = i + 1;
    for (unsigned i = 0; i < WRITERS; i++)
        writers[i] =
            (struct writer){.ops = ops, .map = map, .first = i + 1, .step = WRITERS, .last = ITEMS};
    run_writers(writers, WRITERS);
    ops->each(map, look_at, &content);
    bool whole = !content.foreign && content.entries == ITEMS && ops->count(map) == ITEMS;
    bool believed = ops == &map_unchecked;
    assert_int_equal(ops->holds(map, ids, ITEMS), whole || believed);
    ops->destroy(map);
    return whole;
}

enum { ROUNDS = 300 };

/* After 30 rounds ThreadSanitizer has reported the same places as after 300, and each report takes
 * long. */
#ifdef __SANITIZE_THREAD__
enum { LOSING_ROUNDS = 30 };
#else
enum { LOSING_ROUNDS = ROUNDS };
#endif

static void lose_a_write(const struct map_ops *ops)
{
    unsigned lost = 0;
    int64_t give_up_ns = clock_now_ns() + TEST_PATIENCE_NS;
    for (int round = 0; round < LOSING_ROUNDS || lost == 0; round++) {
        lost += !race(ops);
        assert_true(clock_now_ns() < give_up_ns);
    }
}

static void lose_nothing(const struct map_ops *ops)
{
    for (int round = 0; round < ROUNDS; round++)
        assert_true(race(ops));
}

/* The looks can miss a lost write, so the handler must find it with holds(). Here no look stops a
 * writer. */
static void test_unsafe_loses_and_holds_sees_it(void **state)
{
    (void)state;
    lose_a_write(&map_unsafe);
}

static void test_unchecked_loses_and_is_believed(void **state)
{
    (void)state;
    lose_a_write(&map_unchecked);
}

static void test_mutex_loses_nothing(void **state)
{
    (void)state;
    lose_nothing(&map_mutex);
}

static void test_slots_lose_nothing(void **state)
{
    (void)state;
    lose_nothing(&map_slots);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_look_finds_writers_who_looked_together),
        cmocka_unit_test(test_unsafe_loses_and_holds_sees_it),
        cmocka_unit_test(test_unchecked_loses_and_is_believed),
        cmocka_unit_test(test_mutex_loses_nothing),
        cmocka_unit_test(test_slots_lose_nothing),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    CHECK_PTHREAD(sem_init(&put_done, 0, 0));
    return cmocka_run_group_tests_name("map_race", tests, NULL, NULL);
}
