#include "loadtest/serve/api.h"

#include "common/check.h"

json_t *api_load(const struct api *api, const struct http_request *request,
                 struct http_response *response)
{
    json_t *record = run_store_load(api->store, request->tail);
    if (!record) {
        char shown[65];
        char message[HTTP_ERROR_SIZE];
        text_one_line(request->tail, shown, sizeof shown);
        snprintf(message, sizeof message, "there is no run '%s'", shown);
        http_response_refuse(request, response, 404, message);
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
    http_response_refuse(request, response, 409, message);
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
