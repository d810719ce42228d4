#include "loadtest/api.h"

#include "common/check.h"

const struct http_route api_routes[] = {
    {"POST", "/v1/runs", api_run_post},
    {"GET", "/v1/runs", api_run_list},
    {"GET", "/v1/runs/*", api_run_get},
    {"POST", "/v1/runs/*/stop", api_run_stop},
    {"GET", "/v1/runs/*/series", api_run_series},
    {"GET", "/v1/runs/*/histogram", api_run_histogram},
    {"GET", "/v1/runs/*/report.html", api_run_report},
    {"GET", "/v1/runs/*/events", api_run_events},
    {"GET", "/metrics", api_metrics},
    {"GET", "/healthz", api_health},
    {"GET", "/", api_page},
};
const size_t api_route_count = sizeof api_routes / sizeof api_routes[0];

void api_refuse(const struct http_request *request, struct http_response *response, int status,
                const char *message)
{
    http_response_error(request, response, status, -status, message);
}

void api_answer(const struct http_request *request, struct http_response *response,
                json_t *document)
{
    char *text = document ? json_dumps(document, JSON_INDENT(1) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(document);
    if (!text) {
        api_refuse(request, response, 503, "out of memory");
        return;
    }
    text_add(&response->body, text);
    text_add(&response->body, "\n");
    free(text);
}

json_t *api_load(const struct api *api, const struct http_request *request,
                 struct http_response *response)
{
    json_t *record = run_store_load(api->store, request->tail);
    if (!record) {
        char shown[65];
        char message[HTTP_ERROR_SIZE];
        text_one_line(request->tail, shown, sizeof shown);
        snprintf(message, sizeof message, "there is no run '%s'", shown);
        api_refuse(request, response, 404, message);
    }
    return record;
}

json_t *api_load_finished(const struct api *api, const struct http_request *request,
                          struct http_response *response, const char *what)
{
    json_t *record = api_load(api, request, response);
    const char *state = json_string_value(json_object_get(record, "state"));
    if (!record || strcmp(state, RUN_STATE_FINISHED) == 0)
        return record;
    char message[HTTP_ERROR_SIZE];
    snprintf(message, sizeof message, "run %s has no %s: it is %s", request->tail, what, state);
    api_refuse(request, response, 409, message);
    json_decref(record);
    return NULL;
}

json_t *api_summary(json_t *record)
{
    static const char *const keys[] = {"id",        "state",   "started", "ended",
                                       "url",       "verdict", "ledger",  "latency_ms",
                                       "integrity", "crashes", "error"};
    json_t *summary = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        json_t *value = json_object_get(record, keys[i]);
        if (value)
            json_object_set(summary, keys[i], value);
    }
    json_decref(record);
    return summary;
}
