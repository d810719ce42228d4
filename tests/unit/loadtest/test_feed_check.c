#include "loadtest/check/feed_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "loadtest/check/json_scan.h"

#define FEED  7
#define ITEMS 300

static int64_t video_at(uint32_t feed, uint32_t position)
{
    return 1 + ((int64_t)feed * 7919 + (int64_t)position * 104729) % 100003;
}

static json_t *entry(int64_t id)
{
    char title[32];
    snprintf(title, sizeof title, "Video %lld", (long long)id);
    return json_pack("{s:s, s:I, s:I}", "title", title, "views", (json_int_t)(id * 7919 % 1000003),
                     "likes", (json_int_t)(id * 104729 % 10007));
}

static void put_entry(json_t *items, int64_t id, json_t *value)
{
    char key[32];
    snprintf(key, sizeof key, "%lld", (long long)id);
    json_object_set_new(items, key, value);
}

/* The right map of positions 1..count, as JSON. */
static json_t *right_feed(uint32_t feed, uint32_t count)
{
    json_t *items = json_object();
    for (uint32_t p = 1; p <= count; p++)
        put_entry(items, video_at(feed, p), entry(video_at(feed, p)));
    return json_pack("{s:i, s:i, s:o}", "feed_id", (int)feed, "count", (int)count, "items", items);
}

static json_t *item(const json_t *root, uint32_t position)
{
    char key[32];
    snprintf(key, sizeof key, "%lld", (long long)video_at(FEED, position));
    return json_object_get(json_object_get(root, "items"), key);
}

static struct feed_defects check_text(const char *body, size_t size, bool expected)
{
    struct feed_defects defects = {0};
    const char *first;
    bool ok = feed_check_body(body, size, FEED, ITEMS, &defects, &first);
    assert_int_equal(ok, expected);
    assert_int_equal(first == NULL, expected);
    return defects;
}

/* Takes over `root`. */
static struct feed_defects check_feed(json_t *root, bool expected)
{
    char *body = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    assert_non_null(body);
    struct feed_defects defects = check_text(body, strlen(body), expected);
    free(body);
    return defects;
}

static void assert_defects(struct feed_defects got, struct feed_defects expected)
{
    assert_int_equal(got.lost, expected.lost);
    assert_int_equal(got.foreign, expected.foreign);
    assert_int_equal(got.duplicate, expected.duplicate);
    assert_int_equal(got.corrupt, expected.corrupt);
    assert_int_equal(got.malformed, expected.malformed);
}

static void test_right(void **state)
{
    (void)state;
    static const uint32_t feeds[] = {1, 2, 7, 500, 999, 1000};
    static const uint32_t counts[] = {1, 2, 299, 300, 1000};
    for (size_t f = 0; f < sizeof feeds / sizeof feeds[0]; f++) {
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            struct feed_defects defects = {0};
            const char *first;
            json_t *root = right_feed(feeds[f], counts[c]);
            char *body = json_dumps(root, JSON_INDENT(3));
            assert_true(feed_check_body(body, strlen(body), feeds[f], counts[c], &defects, &first));
            assert_null(first);
            assert_defects(defects, (struct feed_defects){0});
            free(body);
            json_decref(root);
        }
    }
}

static void test_lost(void **state)
{
    (void)state;
    for (uint32_t missing = 0; missing <= ITEMS; missing += 50) {
        json_t *root = right_feed(FEED, ITEMS);
        json_t *items = json_object_get(root, "items");
        for (uint32_t p = 1; p <= missing; p++) {
            char key[32];
            snprintf(key, sizeof key, "%lld", (long long)video_at(FEED, p));
            json_object_del(items, key);
        }
        assert_defects(check_feed(root, missing == 0), (struct feed_defects){.lost = missing});
    }
    json_t *root = right_feed(FEED, ITEMS);
    json_object_del(root, "items");
    assert_defects(check_feed(root, false), (struct feed_defects){.lost = ITEMS});
}

static void test_foreign(void **state)
{
    (void)state;
    json_t *root = right_feed(FEED, ITEMS);
    json_t *items = json_object_get(root, "items");
    put_entry(items, video_at(FEED, ITEMS + 1),
              entry(video_at(FEED, ITEMS + 1))); /* beyond the last */
    put_entry(items, video_at(FEED + 1, 5), entry(video_at(FEED + 1, 5)));
    json_object_set_new(items, "0", json_null());
    json_object_set_new(items, "100004", json_object());
    json_object_set_new(items, "-1", json_integer(3));
    json_object_set_new(items, "", json_string(""));
    json_object_set_new(items, "99999999999999999999", json_array());
    char key[32];
    snprintf(key, sizeof key, "0%lld", (long long)video_at(FEED, 1)); /* another spelling */
    json_object_set_new(items, key, entry(video_at(FEED, 1)));
    assert_defects(check_feed(root, false), (struct feed_defects){.foreign = 8});
}

static void test_duplicate(void **state)
{
    (void)state;
    json_t *root = right_feed(FEED, ITEMS);
    char *body = json_dumps(root, JSON_COMPACT);
    struct text twice = {0};
    char *items = strstr(body, "\"items\":{") + strlen("\"items\":{");
    text_append(&twice, body, (size_t)(items - body));
    for (uint32_t p = 1; p <= 3; p++) {
        char *again = json_dumps(item(root, p), JSON_COMPACT);
        text_addf(&twice, "\"%lld\":%s,", (long long)video_at(FEED, p), p == 2 ? "17" : again);
        free(again);
    }
    text_add(&twice, items);
    /* of two entries for one video, the first is checked; that of the second video is bad */
    assert_defects(check_text(twice.data, twice.size_bytes, false),
                   (struct feed_defects){.duplicate = 3, .corrupt = 1});
    text_clear(&twice);
    free(body);
    json_decref(root);
}

static void test_corrupt(void **state)
{
    (void)state;
    json_t *root = right_feed(FEED, ITEMS);
    json_object_set_new(item(root, 1), "title", json_string("Video"));
    json_object_set_new(item(root, 2), "views", json_integer(-1));
    json_object_set_new(item(root, 3), "likes", json_real(1.5));
    json_object_set_new(item(root, 4), "likes", json_string("1"));
    json_object_del(item(root, 5), "title");
    json_object_clear(item(root, 6));
    json_object_set_new(item(root, 7), "note", json_string("a member that nobody asked for"));
    assert_defects(check_feed(root, false), (struct feed_defects){.corrupt = 6});

    root = right_feed(FEED, ITEMS);
    put_entry(json_object_get(root, "items"), video_at(FEED, 9), json_null());
    assert_defects(check_feed(root, false), (struct feed_defects){.corrupt = 1});

    root = right_feed(FEED, ITEMS);
    json_object_set_new(root, "feed_id", json_integer(FEED + 1));
    json_object_set_new(root, "count", json_integer(ITEMS - 1));
    assert_defects(check_feed(root, false), (struct feed_defects){.corrupt = 1});
}

static void test_members_twice(void **state)
{
    (void)state;
    json_t *root = right_feed(FEED, ITEMS);
    char *body = json_dumps(root, JSON_COMPACT);
    struct text changed = {0};
    char *views = strstr(body, "\"views\":");
    text_append(&changed, body, (size_t)(views - body));
    text_append(&changed, views, strcspn(views, ",}"));
    text_add(&changed, ",");
    text_add(&changed, views);
    assert_defects(check_text(changed.data, changed.size_bytes, false),
                   (struct feed_defects){.corrupt = 1});
    text_clear(&changed);
    text_add(&changed, "{\"items\":{},");
    text_add(&changed, body + 1);
    assert_defects(check_text(changed.data, changed.size_bytes, false),
                   (struct feed_defects){.corrupt = 1});
    text_clear(&changed);
    free(body);
    json_decref(root);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bodies[] = {"", "null", "[]", "17", "{", "{\"items\":", "not json"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        assert_defects(check_text(bodies[i], strlen(bodies[i]), false),
                       (struct feed_defects){.malformed = 1});
    json_t *root = right_feed(FEED, ITEMS);
    char *body = json_dumps(root, JSON_COMPACT);
    size_t size = strlen(body);
    for (size_t cut = 0; cut < size; cut += 97) /* each is cut short: none may pass */
        assert_defects(check_text(body, cut, false), (struct feed_defects){.malformed = 1});
    assert_defects(check_text(body, size + 1, false), (struct feed_defects){.malformed = 1});
    free(body);
    json_decref(root);
}

static bool scan_accepts(const char *bytes, size_t size)
{
    struct json_scan scan;
    json_scan_init(&scan, bytes, size);
    json_scan_skip(&scan);
    return json_scan_end(&scan);
}

/* The scanner and jansson must agree on what is JSON. Only jansson checks UTF-8 and the range of
 * numbers, so no piece violates either (e-3 can only become too small). */
static void test_scanner_agrees_with_jansson(void **state)
{
    (void)state;
    static const char *const pieces[] = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "\"a\"",
                                         "\"\"",
                                         "1",
                                         "-",
                                         "0",
                                         "01",
                                         ".5",
                                         "e-3",
                                         "true",
                                         "nul",
                                         "null",
                                         "false",
                                         "\"\\n\"",
                                         " ",
                                         "\n",
                                         "\"\\u00e9\"",
                                         "\"\\ud83d\\ude00\"",
                                         "\"\\ud83d\"",
                                         "\"\\x\"",
                                         "\"b\":",
                                         "\"c\":2,"};
    const uint64_t count = sizeof pieces / sizeof pieces[0];
    uint64_t random = 88172645463325252U;
    unsigned accepted = 0;
    for (int i = 0; i < 300000; i++) {
        struct text body = {0};
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t rest = random;
        for (uint64_t n = 1 + random % 7; n > 0; n--, rest /= count)
            text_add(&body, pieces[rest % count]);
        json_t *root = json_loadb(body.data, body.size_bytes, JSON_DECODE_ANY, NULL);
        if (scan_accepts(body.data, body.size_bytes) != (root != NULL))
            fail_msg("disagree on %s", body.data);
        accepted += root != NULL;
        json_decref(root);
        text_clear(&body);
    }
    assert_in_range(accepted, 1000, 300000);
    static const char deep[] = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[";
    assert_false(scan_accepts(deep, sizeof deep - 1));
}

static void test_scanner_decodes_strings(void **state)
{
    (void)state;
    static const char body[] = "\"a\\u0041\\u00e9\\u20ac\\ud83d\\ude00\\n\\/\\u0000z\"";
    struct json_scan scan;
    char out[64];
    json_scan_init(&scan, body, sizeof body - 1);
    assert_true(json_scan_string(&scan, out, sizeof out));
    assert_string_equal(out, "aA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n/\xc0\x80z");
    json_scan_init(&scan, body, sizeof body - 1);
    assert_true(json_scan_string(&scan, out, 3));
    assert_string_equal(out, "aA");
    assert_true(json_scan_end(&scan));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_duplicate),
        cmocka_unit_test(test_corrupt),
        cmocka_unit_test(test_members_twice),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_scanner_agrees_with_jansson),
        cmocka_unit_test(test_scanner_decodes_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
