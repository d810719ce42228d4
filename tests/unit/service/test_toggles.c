/* Toggles: names and values agree with the variants, the database beats the option, and no request
 * sees half a change. */
#include "tests/support/support.h"

#include "service/toggles/toggles.h"

#include <stdatomic.h>

static void test_definitions_and_variants_agree(void **state)
{
    (void)state;
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++) {
        const char *at = toggle_definitions[toggle].choices;
        int index = 0;
        for (; *at; index++) {
            size_t length = strcspn(at, "|");
            const char *name = toggle_value_name(toggle, index);
            assert_int_equal(strlen(name), length);
            assert_memory_equal(name, at, length);
            assert_int_equal(toggle_value_index(toggle, name), index);
            at += length + (at[length] == '|');
        }
        assert_int_equal(toggle_value_index(toggle, "no such value"), -1);
        assert_int_equal(toggle_by_name(toggle_definitions[toggle].name), toggle);
    }
    assert_int_equal(toggle_by_name("no such toggle"), TOGGLES);
}

static void init(struct toggles *toggles)
{
    const char *values[TOGGLES];
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++)
        values[toggle] = toggle_value_name(toggle, 0);
    values[TOGGLE_MAP] = "unsafe";
    static const enum value_origin origins[TOGGLES] = {[TOGGLE_MAP] = VALUE_FROM_OPTION};
    toggles_init(toggles, values, origins);
}

static void test_the_database_beats_the_option_and_gives_way_again(void **state)
{
    struct toggles toggles;
    json_t *stored = json_pack("{s:s, s:s, s:s}", "map", "mutex", "release", "no such value",
                               "no such toggle", "1");
    json_t *nothing = json_object();
    (void)state;
    init(&toggles);
    assert_ptr_equal(toggles_select(&toggles).map, &map_unsafe);
    toggles_apply(&toggles, stored);
    assert_ptr_equal(toggles_select(&toggles).map, &map_mutex);
    assert_ptr_equal(toggles_select(&toggles).release, &release_always);
    assert_int_equal(toggles.origin[TOGGLE_MAP], VALUE_FROM_DATABASE);
    toggles_apply(&toggles, nothing);
    assert_ptr_equal(toggles_select(&toggles).map, &map_unsafe);
    assert_int_equal(toggles.origin[TOGGLE_MAP], VALUE_FROM_OPTION);
    json_decref(stored);
    json_decref(nothing);
}

static void test_changes_are_checked(void **state)
{
    static const struct {
        const char *json, *named;
    } wrong[] = {
        {"[]", "object"},
        {"{\"mop\":\"mutex\"}", "mop"},
        {"{\"map\":1}", "map"},
        {"{\"map\":null}", "map"},
        {"{\"map\":\"none\"}", "none"},
        {"{\"query\":\"batched\",\"map\":\"\"}", "map"},
    };
    char message[256];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json_t *changes = json_loads(wrong[i].json, 0, NULL);
        assert_false(toggles_check(changes, message, sizeof message));
        assert_non_null(strstr(message, wrong[i].named));
        json_decref(changes);
    }
    json_t *right = json_pack("{s:s, s:s}", "map", "unsafe", "query", "per_item");
    assert_true(toggles_check(right, message, sizeof message));
    json_decref(right);
}

static _Atomic bool done;

/* {batched, unsafe} and {per_item, mutex} are both harmless. {per_item, unsafe} would crash, and is
 * never set. */
static void *look(void *argument)
{
    struct toggles *toggles = argument;
    while (!atomic_load(&done)) {
        struct variant_set variants = toggles_select(toggles);
        assert(variants.query == &query_batched || variants.map == &map_mutex);
    }
    return NULL;
}

static void test_a_change_of_two_is_seen_as_one(void **state)
{
    struct toggles toggles;
    pthread_t thread;
    json_t *left = json_pack("{s:s, s:s}", "query", "batched", "map", "unsafe");
    json_t *right = json_pack("{s:s, s:s}", "query", "per_item", "map", "mutex");
    (void)state;
    init(&toggles);
    CHECK_PTHREAD(pthread_create(&thread, NULL, look, &toggles));
    for (int i = 0; i < 300; i++) {
        toggles_apply(&toggles, right);
        toggles_apply(&toggles, left);
    }
    atomic_store(&done, true);
    CHECK_PTHREAD(pthread_join(thread, NULL));
    json_decref(left);
    json_decref(right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definitions_and_variants_agree),
        cmocka_unit_test(test_the_database_beats_the_option_and_gives_way_again),
        cmocka_unit_test(test_changes_are_checked),
        cmocka_unit_test(test_a_change_of_two_is_seen_as_one),
    };
    return cmocka_run_group_tests_name("toggles", tests, NULL, NULL);
}
