/*
 * Settings and the restart that puts them in force.
 */
#include "common/check.h"
#include "service/http/service.h"

json_t *change_body(const struct http_request *request, struct http_response *response)
{
    char message[HTTP_ERROR_SIZE];
    json_error_t error;
    json_t *changes =
        json_loadb(request->body, request->body_size_bytes, JSON_REJECT_DUPLICATES, &error);
    if (changes)
        return changes;
    snprintf(message, sizeof message, "bad JSON: %s (line %d, column %d)", error.text, error.line,
             error.column);
    http_response_refuse(request, response, 400, message);
    return NULL;
}

void settings_get(void *context, const struct http_request *request, struct http_response *response)
{
    struct service *service = context;
    http_response_json(request, response,
                       json_pack("{s:o, s:b, s:b}", "settings",
                                 settings_describe(&service->settings), "restart_needed",
                                 settings_need_restart(&service->settings), "supervised",
                                 service->restart != NULL));
}

void settings_patch(void *context, const struct http_request *request,
                    struct http_response *response)
{
    struct service *service = context;
    char message[HTTP_ERROR_SIZE];
    struct failure failure;
    json_t *changes = change_body(request, response);
    if (!changes)
        return;
    if (!settings_check(changes, &service->settings, message, sizeof message))
        http_response_refuse(request, response, 400, message);
    else if (!control_change(service->control, STORE_SETTING, changes, &failure))
        http_response_error(request, response, 503, -503, failure.message);
    else
        settings_get(context, request, response);
    json_decref(changes);
}

void restart_post(void *context, const struct http_request *request, struct http_response *response)
{
    struct service *service = context;
    if (!service->restart) {
        http_response_error(request, response, 409, -409,
                            "nothing would start this service again: --supervised is off");
    } else if (atomic_load(&service->stopping)) {
        http_response_error(request, response, 409, -409, "the service is stopping already");
    } else {
        service->restart();
        response->status = 202;
        http_response_json(request, response, json_pack("{s:s}", "restart", "under way"));
    }
}
