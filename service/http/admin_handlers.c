/*
 * The admin port: metrics, toggles, and what pool and threads are doing.
 */
#include "common/check.h"
#include "common/clock.h"
#include "service/dump/helper.h"
#include "service/dump/thread_dump.h"
#include "service/http/http_failure.h"
#include "service/http/pool_json.h"

static void metrics(void *context, const struct http_request *request,
                    struct http_response *response)
{
    struct service *service = context;
    struct text *out = &response->body;
    unsigned threads[THREAD_STATES];
    (void)request;
    response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    service_metrics_write_process(service->started_unix_s, out);
    service_metrics_write(&service->metrics, out);
    db_pool_write_metrics(service->environment.pool, service->pool_name, out);
    thread_state_count(threads);
    metrics_family(out, "flashover_threads", "gauge", "The service's threads by state.");
    for (enum thread_state state = 0; state < THREAD_STATES; state++) {
        struct text labels = {0};
        metrics_label(&labels, "state", thread_state_name(state));
        if (!labels.failed)
            metrics_sample(out, "flashover_threads", labels.data, threads[state]);
        text_clear(&labels);
    }
    struct cached_threads_counts fan_out = cached_threads_count();
    metrics_gauge(out, "flashover_fan_out_threads", "", "Threads of fan-outs that are at work.",
                  fan_out.at_work);
    metrics_gauge(out, "flashover_fan_out_idle_threads", "",
                  "Threads of fan-outs that have done their item and wait for another.",
                  fan_out.idle);
    metrics_gauge(out, "flashover_database_reachable", "",
                  "1 when the database answered within the last 2 s.",
                  control_reachable(service->control));
    if (control_backends(service->control) >= 0)
        metrics_gauge(
            out, "flashover_database_backends", "",
            "The database's backends for this service: of all replicas, and of dead ones.",
            (double)control_backends(service->control));
    metrics_gauge(out, "flashover_dump_helper_up", "",
                  "1 while the process that prints dumps is there.", dump_helper_is_alive());
    metrics_gauge(out, "flashover_config_items", "", "Items of a request that does not say.",
                  service->default_items);
    metrics_gauge(out, "flashover_config_query_latency_seconds", "",
                  "The round trip's cost that the database adds.", service->query_latency_s);
    metrics_gauge(out, "flashover_config_request_timeout_seconds", "", "A request's deadline.",
                  (double)service->request_timeout_ns / (double)CLOCK_NS_PER_S);
}

static void toggles_get(void *context, const struct http_request *request,
                        struct http_response *response)
{
    struct service *service = context;
    http_response_json(request, response,
                       json_pack("{s:o}", "toggles", toggles_describe(&service->toggles)));
}

static void toggles_patch(void *context, const struct http_request *request,
                          struct http_response *response)
{
    struct service *service = context;
    char message[HTTP_ERROR_SIZE];
    struct failure failure;
    json_t *changes = change_body(request, response);
    if (!changes)
        return;
    if (!toggles_check(changes, message, sizeof message))
        http_response_refuse(request, response, 400, message);
    else if (!control_change(service->control, STORE_TOGGLE, changes, &failure))
        http_response_error(request, response, 503, -503, failure.message);
    else
        toggles_get(context, request, response);
    json_decref(changes);
}

static void debug_pool(void *context, const struct http_request *request,
                       struct http_response *response)
{
    struct service *service = context;
    struct db_pool *pool = service->environment.pool;
    json_t *now = pool_json_view(pool, DB_POOL_NOW);
    if (now) {
        json_object_set_new(now, "address", json_string(service->pool_name));
        json_object_set_new(now, "at_last_timeout", pool_json_view(pool, DB_POOL_AT_LAST_TIMEOUT));
    }
    http_response_json(request, response, now);
}

static void debug_pool_events(void *context, const struct http_request *request,
                              struct http_response *response)
{
    struct service *service = context;
    response->content_type = "application/x-ndjson";
    if (!pool_json_events(service->environment.pool, service->pool_name, &response->body))
        http_response_error(request, response, 503, -503, "out of memory");
}

/* One group: the threads of a state. */
static json_t *describe_state(const struct thread_view *threads, unsigned count,
                              enum thread_state state, int64_t now_ns)
{
    json_t *list = json_array();
    int64_t longest_ms = 0;
    int64_t shortest_ms = INT64_MAX;
    for (unsigned i = 0; i < count; i++) {
        if (threads[i].state != state)
            continue;
        int64_t ms = (now_ns - threads[i].since_ns) / CLOCK_NS_PER_MS;
        longest_ms = ms > longest_ms ? ms : longest_ms;
        shortest_ms = ms < shortest_ms ? ms : shortest_ms;
        json_array_append_new(list,
                              json_pack("{s:I, s:s, s:s, s:I}", "thread",
                                        (json_int_t)threads[i].tid, "role", threads[i].role,
                                        "request_id", threads[i].request, "ms", (json_int_t)ms));
    }
    if (json_array_size(list) == 0)
        shortest_ms = 0;
    return json_pack("{s:s, s:I, s:I, s:I, s:o}", "state", thread_state_name(state), "count",
                     (json_int_t)json_array_size(list), "shortest_ms", (json_int_t)shortest_ms,
                     "longest_ms", (json_int_t)longest_ms, "threads", list);
}

/* The stacks in groups; NULL with an answer already made. */
static json_t *describe_stacks(const struct http_request *request, struct http_response *response)
{
    struct text report = {0};
    bool ok = thread_dump(DUMP_JSON, &report);
    json_t *groups = ok ? json_loadb(report.data, report.size_bytes, 0, NULL) : NULL;
    text_clear(&report);
    if (!groups)
        http_response_error(request, response, 503, -503,
                            "other requests for the threads are under way, or out of memory");
    return groups;
}

static void debug_threads_text(const struct http_request *request, struct http_response *response)
{
    response->content_type = "text/plain; charset=utf-8";
    if (!thread_dump(DUMP_TEXT, &response->body)) {
        text_clear(&response->body);
        http_response_error(request, response, 503, -503,
                            "other requests for the threads are under way, or out of memory");
    }
}

static void debug_threads(void *context, const struct http_request *request,
                          struct http_response *response)
{
    const char *format;
    unsigned given = http_request_argument(request, "format", &format);
    bool is_text = given == 1 && strcmp(format, "text") == 0;
    if (given > 1 || (given == 1 && !is_text && strcmp(format, "json") != 0)) {
        http_response_refuse(request, response, 400,
                             "format must be given at most once: json or text");
        return;
    }
    if (is_text) {
        debug_threads_text(request, response);
        return;
    }
    json_t *groups = describe_stacks(request, response);
    if (!groups)
        return;
    struct thread_view *threads;
    unsigned count = thread_state_list(&threads);
    int64_t now_ns = clock_now_ns();
    json_t *states = json_array();
    (void)context;
    for (enum thread_state state = 0; state < THREAD_STATES; state++)
        json_array_append_new(states, describe_state(threads, count, state, now_ns));
    free(threads);
    http_response_json(request, response,
                       json_pack("{s:I, s:o, s:o}", "total", (json_int_t)count, "states", states,
                                 "groups", groups));
}

const struct http_route admin_routes[] = {
    {"GET", "/metrics", metrics},
    {"GET", "/v1/toggles", toggles_get},
    {"PATCH", "/v1/toggles", toggles_patch},
    {"GET", "/v1/settings", settings_get},
    {"PATCH", "/v1/settings", settings_patch},
    {"POST", "/v1/restart", restart_post},
    {"GET", "/debug/pool", debug_pool},
    {"GET", "/debug/pool/events", debug_pool_events},
    {"GET", "/debug/threads", debug_threads},
};
const size_t admin_route_count = sizeof admin_routes / sizeof admin_routes[0];
