#include "loadtest/check/feed_check.h"

#include "common/check.h"
#include "loadtest/check/json_scan.h"

#define VIDEOS     100003 /* a prime, so every step has an inverse */
#define FEED_STEP  7919
#define PLACE_STEP 104729
#define PLACE_UNDO 19023 /* PLACE_STEP * PLACE_UNDO = 1 modulo VIDEOS */
#define KEY_SIZE   32
#define TITLE_SIZE 32

struct body_check {
    struct json_scan scan;
    uint32_t feed_id;
    uint32_t items;
    struct feed_defects found;
    unsigned char seen[(FEED_CHECK_ITEMS_MAX + 8) / 8]; /* a bit per position */
    uint32_t seen_count;
};

/* The video id that a key names; 0 for what is not written as the service writes an id. */
static int64_t parse_id(const char *key)
{
    int64_t id = 0;
    if (*key < '1' || *key > '9')
        return 0;
    for (; *key; key++) {
        if (*key < '0' || *key > '9' || id > VIDEOS)
            return 0;
        id = id * 10 + (*key - '0');
    }
    return id <= VIDEOS ? id : 0;
}

/* The position of a video in the feed, 1..items; 0 when the feed does not hold it there. */
static uint32_t position_of(int64_t id, uint32_t feed_id, uint32_t items)
{
    int64_t offset = (id - 1 - (int64_t)feed_id * FEED_STEP) % VIDEOS;
    if (offset < 0)
        offset += VIDEOS;
    int64_t position = offset * PLACE_UNDO % VIDEOS;
    return position >= 1 && position <= items ? (uint32_t)position : 0;
}

static bool entry_is_right(struct json_scan *scan, int64_t id)
{
    char key[KEY_SIZE];
    char title[TITLE_SIZE];
    char expected[TITLE_SIZE];
    int64_t number;
    unsigned titles = 0;
    unsigned views = 0;
    unsigned likes = 0;
    if (!json_scan_object(scan))
        return false;
    snprintf(expected, sizeof expected, "Video %lld", (long long)id);
    /* A wrong value counts 2: once and only once, and right, is 1. */
    while (json_scan_member(scan, key, sizeof key)) {
        if (strcmp(key, "title") == 0)
            titles +=
                json_scan_string(scan, title, sizeof title) && !strcmp(title, expected) ? 1 : 2;
        else if (strcmp(key, "views") == 0)
            views += json_scan_integer(scan, &number) && number == id * 7919 % 1000003 ? 1 : 2;
        else if (strcmp(key, "likes") == 0)
            likes += json_scan_integer(scan, &number) && number == id * 104729 % 10007 ? 1 : 2;
        else
            json_scan_skip(scan);
    }
    return titles == 1 && views == 1 && likes == 1;
}

static void check_entry(struct body_check *check, const char *key)
{
    int64_t id = parse_id(key);
    uint32_t position = id ? position_of(id, check->feed_id, check->items) : 0;
    if (position == 0) {
        check->found.foreign++;
        json_scan_skip(&check->scan);
        return;
    }
    unsigned char bit = (unsigned char)(1U << position % 8);
    if (check->seen[position / 8] & bit) {
        check->found.duplicate++;
        json_scan_skip(&check->scan);
        return;
    }
    check->seen[position / 8] |= bit;
    check->seen_count++;
    if (!entry_is_right(&check->scan, id))
        check->found.corrupt++;
}

static void check_members(struct body_check *check)
{
    char key[KEY_SIZE];
    int64_t number;
    unsigned feed_ids = 0;
    unsigned counts = 0;
    unsigned maps = 0;
    while (json_scan_member(&check->scan, key, sizeof key)) {
        if (strcmp(key, "feed_id") == 0) {
            feed_ids +=
                json_scan_integer(&check->scan, &number) && number == check->feed_id ? 1 : 2;
        } else if (strcmp(key, "count") == 0) {
            counts += json_scan_integer(&check->scan, &number) && number == check->items ? 1 : 2;
        } else if (strcmp(key, "items") == 0) {
            maps++;
            if (json_scan_object(&check->scan))
                while (json_scan_member(&check->scan, key, sizeof key))
                    check_entry(check, key);
        } else {
            json_scan_skip(&check->scan);
        }
    }
    if (feed_ids != 1 || counts != 1 || maps > 1)
        check->found.corrupt++;
    check->found.lost += check->items - check->seen_count;
}

bool feed_check_body(const char *body, size_t size_bytes, uint32_t feed_id, uint32_t items,
                     struct feed_defects *defects, const char **first)
{
    assert(items >= 1 && items <= FEED_CHECK_ITEMS_MAX);
    struct body_check check = {.feed_id = feed_id, .items = items};
    json_scan_init(&check.scan, body, size_bytes);
    bool is_object = json_scan_object(&check.scan);
    if (is_object)
        check_members(&check);
    if (!is_object || !json_scan_end(&check.scan))
        check.found = (struct feed_defects){.malformed = 1};
    feed_check_merge(defects, &check.found);

    if (check.found.malformed)
        *first = "wrong map: the body is not the JSON of a feed";
    else if (check.found.lost)
        *first = "wrong map: entries lost";
    else if (check.found.foreign)
        *first = "wrong map: foreign entries";
    else if (check.found.duplicate)
        *first = "wrong map: duplicate entries";
    else if (check.found.corrupt)
        *first = "wrong map: corrupt entries";
    else
        *first = NULL;
    return *first == NULL;
}

void feed_check_merge(struct feed_defects *into, const struct feed_defects *from)
{
    into->lost += from->lost;
    into->foreign += from->foreign;
    into->duplicate += from->duplicate;
    into->corrupt += from->corrupt;
    into->malformed += from->malformed;
}
