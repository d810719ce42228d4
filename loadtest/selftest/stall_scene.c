#include "loadtest/selftest/stall_scene.h"

#include "common/check.h"
#include "common/random.h"
#include "loadtest/check/feed_check.h"

#include <inttypes.h>
#include <math.h>

/* Another stream than the schedule's: service times and arrivals from the same numbers would not be
 * independent. */
#define SERVICE_STREAM UINT64_C(0xbb67ae8584caa73b)

int64_t stall_scene_service_ns(const struct stall_scene *scene, uint64_t number)
{
    if (!scene->is_exponential)
        return scene->service_ns;
    return llround(-log(random_unit_at(scene->seed ^ SERVICE_STREAM, number)) *
                   (double)scene->service_ns);
}

int64_t stall_scene_finish_ns(const struct stall_scene *scene, struct stall_slots *slots,
                              uint64_t number, int64_t arrived_ns)
{
    int64_t begin_ns = arrived_ns;
    int64_t *slot = NULL;
    assert(scene->slots <= STALL_SLOTS_MAX);
    for (unsigned i = 0; i < scene->slots; i++)
        if (!slot || slots->free_at_ns[i] < *slot)
            slot = &slots->free_at_ns[i];
    if (slot && *slot > begin_ns)
        begin_ns = *slot;
    if (begin_ns >= scene->stall_from_ns && begin_ns < scene->stall_until_ns)
        begin_ns = scene->stall_until_ns;
    int64_t end_ns = begin_ns + stall_scene_service_ns(scene, number);
    if (slot)
        *slot = end_ns;
    return end_ns;
}

/* The entry at `position`, by the data rule (feed_check.h). */
static void add_entry(struct text *body, uint32_t feed_id, uint32_t position, bool is_corrupt)
{
    uint64_t id = 1 + ((uint64_t)feed_id * 7919 + (uint64_t)position * 104729) % 100003;
    uint64_t views = id * 7919 % 1000003 + is_corrupt;
    text_addf(body,
              "%s\"%" PRIu64 "\":{\"title\":\"Video %" PRIu64 "\",\"views\":%" PRIu64
              ",\"likes\":%" PRIu64 "}",
              body->data[body->size_bytes - 1] == '{' ? "" : ",", id, id, views,
              id * 104729 % 10007);
}

static void add_feed(struct text *body, const struct stall_answer *answer, uint32_t feed_id,
                     uint32_t items)
{
    assert(answer->lost + answer->duplicate + answer->corrupt <= items);
    text_addf(body, "{\"feed_id\":%" PRIu32 ",\"count\":%" PRIu32 ",\"items\":{", feed_id, items);
    uint32_t duplicate_until = answer->lost + answer->duplicate;
    for (uint32_t position = answer->lost + 1; !body->failed && position <= items; position++) {
        bool is_corrupt =
            position > duplicate_until && position <= duplicate_until + answer->corrupt;
        add_entry(body, feed_id, position, is_corrupt);
        if (position <= duplicate_until)
            add_entry(body, feed_id, position, false);
    }
    /* Positions behind the last are those of videos that the feed does not hold. */
    for (uint32_t i = 1; !body->failed && i <= answer->foreign; i++)
        add_entry(body, feed_id, items + i, false);
    text_add(body, "}}");
}

void stall_scene_write(const struct stall_scene *scene, const struct stall_answer *answer,
                       uint64_t number, uint32_t feed_id, struct text *out)
{
    struct text body = {0};
    bool is_error = answer->kind == STALL_ERROR;
    if (answer->kind == STALL_HOLE)
        return;
    if (answer->kind == STALL_GARBAGE) {
        text_add(out, "220 mail.example ESMTP\r\n\r\n");
        return;
    }
    if (is_error)
        text_addf(&body,
                  "{\"ecode\":-500,\"message\":\"timed out while checking out a connection\","
                  "\"request_id\":\"stall-%" PRIu64 "\"}",
                  number);
    else
        add_feed(&body, answer, feed_id, scene->items);
    text_addf(out,
              "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
              "X-Request-Id: stall-%" PRIu64 "\r\n\r\n",
              is_error ? "503 Service Unavailable" : "200 OK", body.size_bytes, number);
    text_append(out, body.data ? body.data : "", body.size_bytes);
    out->failed |= body.failed;
    text_clear(&body);
}
