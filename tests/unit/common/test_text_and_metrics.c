/* Growing text, its JSON strings (compared with jansson's), and metrics in text form. */
#include "tests/support/support.h"

#include "common/clock.h"
#include "common/metrics.h"

#include <jansson.h>

static void test_growth_and_numbers(void **state)
{
    struct text text = {0};
    (void)state;
    for (int i = 0; i < 1000; i++)
        text_addf(&text, "%03d,", i);
    assert_false(text.failed);
    assert_int_equal(text.size_bytes, 4000);
    assert_string_equal(text.data + 3996, "999,");
    text_clear(&text);
    text_add_integer(&text, 0);
    text_add(&text, " ");
    text_add_integer(&text, INT64_MIN);
    text_add(&text, " ");
    text_add_integer(&text, INT64_MAX);
    assert_string_equal(text.data, "0 -9223372036854775808 9223372036854775807");
    text_clear(&text);
    assert_null(text.data);
}

/* Any bytes become valid JSON. UTF-8 stays the same string. */
static void test_json_strings(void **state)
{
    static const char *const strings[] = {
        "", "plain", "\"quoted\\\"", "tab\tnew\nline\x01\x1f",
        "\xc3\xa9t\xc3\xa9 \xe7\xbb\x93\xe6\x9d\x9f \xf0\x9f\x94\xa5"};
    static const char *const broken[] = {"cut \xc3", "cut \xf0\x9f\x94", "\xff\xfe", "\xc0\x80",
                                         "\xed\xa0\x80"};
    (void)state;
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        struct text text = {0};
        text_add_json_string(&text, strings[i], strlen(strings[i]));
        json_t *parsed = json_loads(text.data, JSON_DECODE_ANY, NULL);
        assert_non_null(parsed);
        assert_string_equal(json_string_value(parsed), strings[i]);
        json_decref(parsed);
        text_clear(&text);
    }
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct text text = {0};
        text_add_json_string(&text, broken[i], strlen(broken[i]));
        json_t *parsed = json_loads(text.data, JSON_DECODE_ANY, NULL);
        assert_non_null(parsed);
        json_decref(parsed);
        text_clear(&text);
    }
}

static void test_one_line(void **state)
{
    char out[8];
    (void)state;
    text_one_line("a\tb\nc\n \n", out, sizeof out);
    assert_string_equal(out, "a b c");
    text_one_line("\x01\xff\xc3)\xe2\x82", out,
                  sizeof out); /* not UTF-8, and a truncated sequence */
    assert_string_equal(out, "??"
                             "?)??");
    text_one_line("123456\xc3\xbc", out, sizeof out); /* no half character is kept */
    assert_string_equal(out, "123456");
    text_one_line("12345\xc3\xbc", out, sizeof out);
    assert_string_equal(out, "12345\xc3\xbc");
    text_one_line("", out, sizeof out);
    assert_string_equal(out, "");
}

static void test_labels_are_escaped(void **state)
{
    struct text labels = {0};
    struct text out = {0};
    (void)state;
    metrics_label(&labels, "a", "x\"y\\z\n");
    metrics_label(&labels, "b", "2");
    metrics_sample(&out, "name", labels.data, 1.5);
    metrics_sample(&out, "bare", "", 3);
    assert_string_equal(out.data, "name{a=\"x\\\"y\\\\z\\n\",b=\"2\"} 1.5\nbare 3\n");
    text_clear(&labels);
    text_clear(&out);
}

static void test_histogram(void **state)
{
    struct metrics_histogram histogram = {0};
    struct text out = {0};
    (void)state;
    metrics_histogram_observe(&histogram, 5 * CLOCK_NS_PER_MS); /* a bound belongs to its bucket */
    metrics_histogram_observe(&histogram, 6 * CLOCK_NS_PER_MS);
    metrics_histogram_observe(&histogram, 60 * CLOCK_NS_PER_S);
    metrics_histogram_write(&out, "h", "k=\"v\"", &histogram);
    assert_non_null(strstr(out.data, "h_bucket{k=\"v\",le=\"0.0025\"} 0\n"));
    assert_non_null(strstr(out.data, "h_bucket{k=\"v\",le=\"0.005\"} 1\n"));
    assert_non_null(strstr(out.data, "h_bucket{k=\"v\",le=\"0.0075\"} 2\n"));
    assert_non_null(strstr(out.data, "h_bucket{k=\"v\",le=\"10\"} 2\n"));
    assert_non_null(strstr(out.data, "h_bucket{k=\"v\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(out.data, "h_sum{k=\"v\"} 60.011000000\n"));
    assert_non_null(strstr(out.data, "h_count{k=\"v\"} 3\n"));
    text_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth_and_numbers), cmocka_unit_test(test_json_strings),
        cmocka_unit_test(test_one_line),           cmocka_unit_test(test_labels_are_escaped),
        cmocka_unit_test(test_histogram),
    };
    return cmocka_run_group_tests_name("text_and_metrics", tests, NULL, NULL);
}
