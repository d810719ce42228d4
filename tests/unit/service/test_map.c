/* The maps, and both looks of the unsafe one. A hook runs one write inside another, so that the
 * result does not depend on luck. */
#include "tests/support/support.h"

#include "service/variants/map/map.h"
#include "service/variants/map/table.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MANY = 1000 };

static const struct map_ops *const all[] = {&map_mutex, &map_slots, &map_unchecked, &map_unsafe};

static _Atomic unsigned fatal_calls;

static void count_fatal(void)
{
    atomic_fetch_add(&fatal_calls, 1);
}

/* In these tests a detected write is counted and does not end the process. */
static const struct fatal_ops fatal_counted = {count_fatal};

static struct video video(int64_t id)
{
    struct video out = {.id = id, .views = 2 * id, .likes = 3 * id};
    snprintf(out.title, sizeof out.title, "Video %lld", (long long)id);
    return out;
}

struct sum {
    unsigned count;
    bool seen[MANY + 1];
};

static void visit(void *context, const struct video *found)
{
    struct sum *sum = context;
    struct video expected = video(found->id);
    assert_true(found->id >= 1 && found->id <= MANY);
    assert_false(sum->seen[found->id]);
    assert_int_equal(found->views, expected.views);
    assert_int_equal(found->likes, expected.likes);
    assert_string_equal(found->title, expected.title);
    sum->seen[found->id] = true;
    sum->count++;
}

static void assert_holds(const struct map_ops *ops, struct result_map *map, unsigned count)
{
    struct sum sum = {0};
    assert_int_equal(ops->count(map), count);
    ops->each(map, visit, &sum);
    assert_int_equal(sum.count, count);
}

static void test_one_writer_is_right_with_each(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const struct map_ops *ops = all[i];
        struct result_map *map = ops->create(&fatal_counted, MANY);
        assert_non_null(map);
        assert_holds(ops, map, 0);
        atomic_store(&fatal_calls, 0);
        for (int64_t id = 1; id <= MANY; id++) {
            struct video one = video(id);
            assert_true(ops->put(map, (unsigned)id - 1, &one));
        }
        for (int64_t id = 1; id <= MANY; id += 7) { /* a repeated put adds no entry */
            struct video one = video(id);
            assert_true(ops->put(map, (unsigned)id - 1, &one));
        }
        assert_holds(ops, map, MANY);
        assert_int_equal(fatal_calls, 0);
        ops->destroy(map);
    }
}

struct writer {
    const struct map_ops *ops;
    struct result_map *map;
    unsigned first, step;
    pthread_t thread;
};

static void *writer_main(void *argument)
{
    const struct writer *writer = argument;
    for (unsigned id = writer->first; id <= MANY; id += writer->step) {
        struct video one = video(id);
        bool ok = writer->ops->put(writer->map, id - 1, &one);
        assert(ok);
    }
    return NULL;
}

static void write_together(const struct map_ops *ops)
{
    enum { WRITERS = 8 };
    struct writer writers[WRITERS];
    struct result_map *map = ops->create(&fatal_counted, MANY);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.ops = ops, .map = map, .first = i + 1, .step = WRITERS};
        CHECK_PTHREAD(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]));
    }
    for (unsigned i = 0; i < WRITERS; i++)
        CHECK_PTHREAD(pthread_join(writers[i].thread, NULL));
    assert_holds(ops, map, MANY);
    ops->destroy(map);
}

static void test_many_writers_are_right_with_mutex_and_slots(void **state)
{
    (void)state;
    write_together(&map_mutex);
    write_together(&map_slots);
}

/* The answer would be incomplete if an item was never put, or holds another item's video. */
static void test_slots_miss_what_was_not_put(void **state)
{
    int64_t ids[] = {1, 2, 3};
    struct result_map *map = map_slots.create(&fatal_counted, 3);
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct video one = video(ids[i]);
        assert_false(map_slots.holds(map, ids, 3));
        assert_true(map_slots.put(map, i, &one));
        assert_holds(&map_slots, map, i + 1);
    }
    assert_true(map_slots.holds(map, ids, 3));
    assert_false(map_slots.holds(map, ids, 2));
    struct video other = video(4);
    assert_true(map_slots.put(map, 1, &other));
    assert_false(map_slots.holds(map, ids, 3));
    map_slots.destroy(map);
}

/* The look before the write detects a put that begins while another is writing. */
static struct result_map *nested_map;

static void write_inside(enum map_point point)
{
    if (point != MAP_WRITING)
        return;
    map_window = NULL;
    struct video one = video(2);
    (void)map_unsafe.put(nested_map, 1, &one);
}

static void test_first_look_finds_a_writer_at_work(void **state)
{
    struct video one = video(1);
    (void)state;
    nested_map = map_unsafe.create(&fatal_counted, 2);
    atomic_store(&fatal_calls, 0);
    map_window = write_inside;
    (void)map_unsafe.put(nested_map, 0, &one);
    map_window = NULL;
    assert_int_equal(fatal_calls, 2); /* the inner put's first look, and its second */
    map_unsafe.destroy(nested_map);
}

/* A lost write leaves a missing entry, or a count that does not match the ids. */
static void test_holds_tells_a_whole_map_from_another(void **state)
{
    enum { FEW = 20 };
    int64_t ids[FEW + 1];
    struct map_table table;
    (void)state;
    assert_true(map_table_init(&table, 0));
    assert_true(map_table_holds(&table, ids, 0));
    for (unsigned i = 0; i <= FEW; i++)
        ids[i] = 100 + i;
    for (unsigned i = 0; i < FEW; i++) {
        struct video one = video(ids[i]);
        assert_false(map_table_holds(&table, ids, i + 1));
        assert_true(map_table_put(&table, &one));
        assert_true(map_table_holds(&table, ids, i + 1));
    }
    assert_false(map_table_holds(&table, ids, FEW + 1));
    assert_false(map_table_holds(&table, ids, FEW - 1));
    assert_false(map_table_holds(&table, ids + 1, FEW)); /* as many, but one differs */
    table.count--;
    assert_false(map_table_holds(&table, ids, FEW));
    assert_false(map_table_holds(&table, ids, FEW - 1));
    map_table_destroy(&table);
}

/* A table that was made for so many entries keeps its buckets until there are more. */
static void test_a_table_made_to_size_does_not_grow(void **state)
{
    static const unsigned sizes[] = {1, 7, 8, 9, 13, 14, 26, 27, 300, MANY};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct map_table table;
        assert_true(map_table_init(&table, sizes[i]));
        const struct map_buckets *made = table.buckets;
        for (unsigned id = 1; id <= sizes[i]; id++) {
            struct video one = video(id);
            assert_true(map_table_put(&table, &one));
        }
        assert_ptr_equal(table.buckets, made);
        assert_int_equal(table.count, sizes[i]);
        for (unsigned id = 1; id <= 7 * MANY; id++) { /* it can still grow */
            struct video one = video(id);
            assert_true(map_table_put(&table, &one));
        }
        assert_ptr_not_equal(table.buckets, made);
        assert_int_equal(table.count, 7 * MANY);
        map_table_destroy(&table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_writer_is_right_with_each),
        cmocka_unit_test(test_many_writers_are_right_with_mutex_and_slots),
        cmocka_unit_test(test_slots_miss_what_was_not_put),
        cmocka_unit_test(test_a_table_made_to_size_does_not_grow),
        cmocka_unit_test(test_holds_tells_a_whole_map_from_another),
        cmocka_unit_test(test_first_look_finds_a_writer_at_work),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
