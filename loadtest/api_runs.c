/*
 * Starting, listing, looking at and stopping runs.
 */
#include "common/check.h"
#include "common/clock.h"
#include "loadtest/api.h"
#include "loadtest/live_json.h"
#include "loadtest/run_request.h"

/* A run that is asked to stop gives up what is in flight at once; the rest is writing it down. */
#define STOP_TIMEOUT_NS (8 * CLOCK_NS_PER_S)

/* Whether the target is one that is allowed; else that has been answered. */
static bool check_target(const struct api *api, const char *url, const struct http_request *request,
                         struct http_response *response)
{
    struct target target;
    char reason[256];
    char shown[129];
    char allowed[512];
    char message[1024];
    if (target_parse(&target, url, reason, sizeof reason)) {
        text_one_line(url, shown, sizeof shown);
        snprintf(message, sizeof message, "url: '%s' %s", shown, reason);
        api_refuse(request, response, 400, message);
        return false;
    }
    if (target_list_has(api->allowed, &target))
        return true;
    target_list_describe(api->allowed, allowed, sizeof allowed);
    snprintf(message, sizeof message,
             "url: %s:%s is not among the targets that this load tester was started for "
             "(--allow-target): %s",
             target.host, target.port, allowed);
    api_refuse(request, response, 403, message);
    return false;
}

/* Claims the place for the run, or answers why not. */
static bool reserve(const struct api *api, const struct http_request *request,
                    struct http_response *response)
{
    char running[RUN_ID_SIZE];
    char message[HTTP_ERROR_SIZE];
    switch (run_control_reserve(api->control, running)) {
    case RUN_CONTROL_OK:
        return true;
    case RUN_CONTROL_CLOSED:
        api_refuse(request, response, 503, "the load tester is stopping");
        return false;
    default:
        break;
    }
    if (running[0])
        snprintf(message, sizeof message, "run %s is under way, and there is one load at a time",
                 running);
    else
        snprintf(message, sizeof message,
                 "another run is being started, and there is one load at a time");
    api_refuse(request, response, 409, message);
    return false;
}

static void answer_started(const struct api *api, const char *id, json_t *asked,
                           const struct http_request *request, struct http_response *response)
{
    json_t *record = run_store_load(api->store, id);
    /* As it began: by now a short run may have ended. */
    json_t *started = json_pack("{s:s, s:s, s:O?, s:O?, s:O}", "id", id, "state", RUN_STATE_RUNNING,
                                "started", json_object_get(record, "started"), "url",
                                json_object_get(record, "url"), "asked", asked);
    json_decref(record);
    api_answer(request, response, started);
    if (response->status != 200)
        return;
    response->status = 202;
    snprintf(response->location, sizeof response->location, "/v1/runs/%s", id);
}

static void start(const struct api *api, const struct run_request *wanted,
                  const struct http_request *request, struct http_response *response)
{
    struct load_settings settings;
    char id[RUN_ID_SIZE];
    char why[RUN_REQUEST_WHY_SIZE];
    enum exit_code code = load_options_resolve(&wanted->options, &settings, why, sizeof why);
    if (code != EXIT_PASS) {
        run_control_release(api->control);
        /* as the command line has it, less its dashes */
        api_refuse(request, response, code == EXIT_USAGE ? 400 : 502,
                   strncmp(why, "--", 2) == 0 ? why + 2 : why);
        return;
    }
    switch (run_control_start(api->control, &settings, wanted->body, id, why, sizeof why)) {
    case RUN_CONTROL_OK:
        answer_started(api, id, wanted->body, request, response);
        break;
    case RUN_CONTROL_UNWATCHED:
        api_refuse(request, response, 502, why);
        break;
    default:
        api_refuse(request, response, 503, why);
        break;
    }
}

void api_run_post(void *context, const struct http_request *request, struct http_response *response)
{
    const struct api *api = context;
    struct run_request wanted;
    char why[RUN_REQUEST_WHY_SIZE];
    if (run_request_parse(&wanted, request->body, request->body_size_bytes, api->default_url, why))
        api_refuse(request, response, 400, why);
    else if (check_target(api, wanted.options.url, request, response) &&
             reserve(api, request, response))
        start(api, &wanted, request, response);
    run_request_clear(&wanted);
}

void api_run_list(void *context, const struct http_request *request, struct http_response *response)
{
    const struct api *api = context;
    api_answer(request, response, json_pack("{s:o}", "runs", run_store_list(api->store)));
}

void api_run_get(void *context, const struct http_request *request, struct http_response *response)
{
    const struct api *api = context;
    struct run_live live = {0};
    /* Before the record is read: a run that ends in between is then seen as ended. */
    enum run_control_outcome outcome =
        run_control_look(api->control, request->tail, 0, clock_now_ns(), &live);
    json_t *record = api_load(api, request, response);
    if (!record)
        return;
    if (strcmp(json_string_value(json_object_get(record, "state")), RUN_STATE_RUNNING) == 0)
        json_object_set_new(record, "live",
                            outcome == RUN_CONTROL_OK ? live_json_build(&live) : json_null());
    api_answer(request, response, record);
}

void api_run_stop(void *context, const struct http_request *request, struct http_response *response)
{
    const struct api *api = context;
    enum run_control_outcome outcome =
        run_control_stop(api->control, request->tail, clock_now_ns() + STOP_TIMEOUT_NS);
    json_t *record = api_load(api, request, response);
    if (!record)
        return;
    if (outcome == RUN_CONTROL_OVER) {
        char message[HTTP_ERROR_SIZE];
        snprintf(message, sizeof message, "run %s is over: %s", request->tail,
                 json_string_value(json_object_get(record, "state")));
        api_refuse(request, response, 409, message);
        json_decref(record);
        return;
    }
    api_answer(request, response, api_summary(record));
    if (outcome == RUN_CONTROL_BUSY)
        response->status = 202; /* it stops, but has not done so yet */
}
