/* Settings: the database beats the option at a start, later readings count at the next one, and
 * what makes no sense is passed over. */
#include "service/toggles/settings.h"

#include "tests/support/support.h"

static struct settings settings;

/* pool-size 20, pool-min 2, fan-out-limit 8; the pool's size is from an option. */
static void init(json_t *stored)
{
    static const double options[SETTINGS] = {
        [SETTING_pool_size] = 20, [SETTING_pool_min] = 2, [SETTING_fan_out_limit] = 8};
    static const enum value_origin origins[SETTINGS] = {[SETTING_pool_size] = VALUE_FROM_OPTION};
    settings_init(&settings, options, origins, stored);
    json_decref(stored);
}

/* "" if the changes are taken, else what is said of them. */
static const char *check(const char *changes, struct settings *on_top_of)
{
    static char message[256];
    json_t *parsed = json_loads(changes, JSON_DECODE_ANY, NULL);
    assert_non_null(parsed);
    message[0] = '\0';
    bool ok = settings_check(parsed, on_top_of, message, sizeof message);
    json_decref(parsed);
    assert_int_equal(ok, message[0] == '\0');
    return message;
}

static void assert_value(double value, int expected)
{
    assert_true(value == expected);
}

static void test_a_real_setting_has_fractions(void **state)
{
    (void)state;
    init(json_pack("{s:s}", "query-latency-ms", "2.5"));
    assert_true(settings.value[SETTING_query_latency_ms] == 2.5);
    json_t *all = settings_describe(&settings);
    json_t *last = json_array_get(all, SETTING_query_latency_ms);
    assert_true(json_real_value(json_object_get(last, "value")) == 2.5);
    json_decref(all);
    assert_string_equal(check("{\"query-latency-ms\":2.5}", NULL), "");
    assert_string_equal(check("{\"query-latency-ms\":0}", NULL), "");
    assert_non_null(
        strstr(check("{\"query-latency-ms\":60001}", NULL), "a number in the range 0..60000"));
    assert_non_null(strstr(check("{\"pool-size\":2.5}", NULL), "an integer in the range"));
}

static void test_the_database_beats_the_option(void **state)
{
    (void)state;
    init(json_pack("{s:s, s:s}", "pool-size", "40", "no such setting", "1"));
    assert_value(settings.value[SETTING_pool_size], 40);
    assert_int_equal(settings.origin[SETTING_pool_size], VALUE_FROM_DATABASE);
    assert_value(settings.value[SETTING_pool_min], 2);
    assert_int_equal(settings.origin[SETTING_pool_min], VALUE_FROM_DEFAULT);
    init(json_object());
    assert_value(settings.value[SETTING_pool_size], 20);
    assert_int_equal(settings.origin[SETTING_pool_size], VALUE_FROM_OPTION);
    init(NULL);
    assert_value(settings.value[SETTING_pool_size], 20);
    assert_false(settings_need_restart(&settings));
}

static void test_what_makes_no_sense_is_passed_over(void **state)
{
    static const char *const wrong[] = {
        "", "x", "3 ", "0", "1001", "-1", "1e1", "3.5", "99999999999999999999"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        init(json_pack("{s:s}", "pool-size", wrong[i]));
        if (settings.value[SETTING_pool_size] != 20)
            fail_msg("'%s' was taken", wrong[i]);
    }
    init(json_pack("{s:s}", "pool-min", "21"));
    assert_value(settings.value[SETTING_pool_min], 20); /* the size counts for both */
}

static void note(json_t *stored)
{
    settings_note(&settings, stored);
    json_decref(stored);
}

static void test_a_later_reading_counts_at_the_next_start(void **state)
{
    (void)state;
    init(json_pack("{s:s}", "pool-size", "40"));
    note(json_pack("{s:s}", "pool-size", "41"));
    assert_true(settings_need_restart(&settings));
    assert_value(settings.value[SETTING_pool_size], 40);
    json_t *all = settings_describe(&settings);
    json_t *first = json_array_get(all, SETTING_pool_size);
    assert_int_equal(json_array_size(all), SETTINGS);
    assert_string_equal(json_string_value(json_object_get(first, "name")), "pool-size");
    assert_int_equal(json_integer_value(json_object_get(first, "value")), 40);
    assert_int_equal(json_integer_value(json_object_get(first, "next")), 41);
    assert_string_equal(json_string_value(json_object_get(first, "origin")), "database");
    json_decref(all);
    note(json_pack("{s:s}", "pool-size", "40"));
    assert_false(settings_need_restart(&settings));
    note(json_object());
    assert_true(settings_need_restart(&settings)); /* the option's 20 */
}

static void test_changes_are_checked(void **state)
{
    (void)state;
    init(NULL);
    assert_string_equal(check("{}", &settings), "");
    assert_string_equal(check("{\"pool-size\":1000,\"max-waiters\":0,\"pool-min\":null}", NULL),
                        "");
    assert_non_null(strstr(check("[]", NULL), "must be a JSON object of settings"));
    assert_string_equal(check("{\"items\":3}", NULL), "unknown setting 'items'");
    assert_non_null(strstr(check("{\"pool-size\":\"3\"}", NULL), "'pool-size'"));
    assert_non_null(strstr(check("{\"pool-size\":1001}", NULL), "1..1000"));
    assert_string_equal(check("{\"pool-size\":1}", NULL), ""); /* nothing else is known */
    assert_non_null(strstr(check("{\"pool-size\":1}", &settings), "would be 2"));
    assert_string_equal(check("{\"pool-size\":1,\"pool-min\":1}", &settings), "");
    assert_non_null(strstr(check("{\"pool-min\":21}", &settings), "at most pool-size, 20"));
    note(json_pack("{s:s, s:s}", "pool-size", "30", "pool-min", "25"));
    assert_non_null(strstr(check("{\"pool-size\":null}", &settings), "at most pool-size, 20"));
    assert_string_equal(check("{\"pool-size\":null,\"pool-min\":null}", &settings), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_real_setting_has_fractions),
        cmocka_unit_test(test_the_database_beats_the_option),
        cmocka_unit_test(test_what_makes_no_sense_is_passed_over),
        cmocka_unit_test(test_a_later_reading_counts_at_the_next_start),
        cmocka_unit_test(test_changes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
