#include "common/check.h"
#include "common/clock.h"
#include "service/base/signal_stack.h"
#include "service/base/thread_state.h"
#include "service/http/http_failure.h"

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

/* Digits only, 1..max; the caller's text is never more than this function's input. */
static bool parse_positive(const char *text, int64_t max, int64_t *value)
{
    *value = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        int digit = *text - '0';
        if (digit < 0 || digit > 9 || *value > (max - digit) / 10)
            return false;
        *value = 10 * *value + digit;
    }
    return *value > 0;
}

static bool parse_request(const struct service *service, const struct http_request *request,
                          int64_t *feed_id, unsigned *items, const char **mistake)
{
    const char *items_text;
    int64_t items_value = service->default_items;
    unsigned given = http_request_argument(request, "items", &items_text);
    if (!parse_positive(request->tail, INT64_MAX, feed_id)) {
        *mistake = "feed_id must be an integer in 1..9223372036854775807";
        return false;
    }
    if (given > 1 || (given == 1 && !parse_positive(items_text, QUERIES_MAX_ITEMS, &items_value))) {
        *mistake =
            "items must be given at most once, an integer in 1.." STRINGIFY(QUERIES_MAX_ITEMS);
        return false;
    }
    *items = (unsigned)items_value;
    return true;
}

struct body_writer {
    struct text *body;
    bool first;
};

static void write_video(void *context, const struct video *video)
{
    struct body_writer *writer = context;
    struct text *body = writer->body;
    text_add(body, writer->first ? "\"" : ",\"");
    writer->first = false;
    text_add_integer(body, video->id);
    text_add(body, "\":{\"title\":");
    text_add_json_string(body, video->title, strlen(video->title));
    text_add(body, ",\"views\":");
    text_add_integer(body, video->views);
    text_add(body, ",\"likes\":");
    text_add_integer(body, video->likes);
    text_add(body, "}");
}

/* About what one item takes in the body: the data's own entries are 75 to 85 bytes. */
#define ITEM_BYTES 90

/* The one JSON body that is not made by jansson: an object a row would cost two fifths of the rate.
 */
static void write_feed(const struct map_ops *ops, const struct result_map *map, int64_t feed_id,
                       struct text *body)
{
    struct body_writer writer = {.body = body, .first = true};
    (void)text_reserve(body, 100 + (size_t)ops->count(map) * ITEM_BYTES);
    text_addf(body, "{\"feed_id\":%lld,\"count\":%u,\"items\":{", (long long)feed_id,
              ops->count(map));
    ops->each(map, write_video, &writer);
    text_add(body, "}}\n");
}

/* As query_ops.run, and a whole answer may still be too late. */
static bool run_in_time(const struct query_request *query, struct query_outcome *outcome)
{
    if (!query->variants.query->run(query, outcome))
        return false;
    if (!query->variants.deadline->is_missed(query->deadline_ns, clock_now_ns()))
        return true;
    query->variants.map->destroy(outcome->map);
    outcome->map = NULL;
    return failure_set(&outcome->failure, FAILURE_REQUEST_DEADLINE, "request deadline exceeded");
}

void feed_handler(void *context, const struct http_request *request, struct http_response *response)
{
    struct service *service = context;
    struct query_outcome outcome;
    const char *mistake;
    struct query_request query = {.environment = &service->environment,
                                  .variants = toggles_select(&service->toggles),
                                  .deadline_ns = request->arrived_ns + service->request_timeout_ns,
                                  .request_id = request->id};
    if (!parse_request(service, request, &query.feed_id, &query.items, &mistake)) {
        http_response_refuse(request, response, 400, mistake);
        return;
    }
    query.wait_ns = query.variants.deadline->for_waits(query.deadline_ns);
    signal_stack_use(); /* once a connection: its thread serves many requests */
    thread_state_enter("request", request->id);
    if (run_in_time(&query, &outcome)) {
        write_feed(query.variants.map, outcome.map, query.feed_id, &response->body);
        query.variants.map->destroy(outcome.map);
    } else {
        http_failure_answer(service, request, query.feed_id, &outcome, response);
    }
    thread_state_leave();
}
