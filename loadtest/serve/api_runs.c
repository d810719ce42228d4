/*
 * Starting, listing, looking at and stopping runs.
 */
#include "common/check.h"
#include "common/clock.h"
#include "loadtest/report/segment_json.h"
#include "loadtest/serve/api.h"
#include "loadtest/serve/live_json.h"
#include "loadtest/serve/run_request.h"

/* A stopped run gives up its requests in flight at once; the rest of the time is for writing its
 * record. */
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
    if (!target_parse(&target, url, reason, sizeof reason)) {
        target_show(url, shown, sizeof shown);
        snprintf(message, sizeof message, "url: '%s' %s", shown, reason);
        http_response_refuse(request, response, 400, message);
        return false;
    }
    if (target_list_has(api->allowed, &target))
        return true;
    target_list_describe(api->allowed, allowed, sizeof allowed);
    snprintf(message, sizeof message,
             "url: %s:%s is not among the targets that this load tester was started for "
             "(--allow-target): %s",
             target.host, target.port, allowed);
    http_response_refuse(request, response, 403, message);
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
        http_response_refuse(request, response, 503, "the load tester is stopping");
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
    http_response_refuse(request, response, 409, message);
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
    http_response_json(request, response, started);
    if (response->status != 200)
        return;
    response->status = 202;
    snprintf(response->location, sizeof response->location, "/v1/runs/%s", id);
}

/* Whether the operator allows the run; else `why` names the key. A closed loop sends as fast as the
 * service answers, so only its callers and its duration are known. */
static bool check_limits(const struct api_limits *limits, const struct load_settings *load,
                         char why[RUN_REQUEST_WHY_SIZE])
{
    const struct schedule *schedule = &load->schedule;
    double peak_per_s = schedule_peak_rate(schedule) * (1 + load->retries);
    double requests = (double)schedule->count * (1 + load->retries);
    bool is_limited = limits->max_per_s < SCHEDULE_RATE_MAX || limits->max_requests < API_MANY;
    if (schedule->duration_s > limits->max_s)
        snprintf(why, RUN_REQUEST_WHY_SIZE,
                 "duration: %.6g s are more than the %.6g s of --max-duration",
                 schedule->duration_s, limits->max_s);
    else if (load->closed && is_limited)
        snprintf(why, RUN_REQUEST_WHY_SIZE,
                 "closed: a closed loop has no rate to hold against --max-rate or --max-requests");
    else if (!load->closed && limits->max_per_s < SCHEDULE_RATE_MAX &&
             peak_per_s > limits->max_per_s)
        snprintf(why, RUN_REQUEST_WHY_SIZE,
                 "rate: %.6g requests a second, retries included, are more than the %.6g of "
                 "--max-rate",
                 peak_per_s, limits->max_per_s);
    else if (!load->closed && requests > (double)limits->max_requests)
        snprintf(why, RUN_REQUEST_WHY_SIZE,
                 "rate: %.6g requests, retries included, are more than the %lld of --max-requests",
                 requests, (long long)limits->max_requests);
    else
        return true;
    return false;
}

/* A load that took every descriptor could not be stopped over this port. The default is lowered; a
 * number that the caller named is refused. */
static bool fit_in_flight(const struct api_limits *limits, const struct run_request *wanted,
                          struct load_settings *load, char why[RUN_REQUEST_WHY_SIZE])
{
    uint64_t asked = load->max_in_flight;
    if (asked <= limits->max_in_flight)
        return true;
    load->max_in_flight = limits->max_in_flight;
    bool is_named = json_object_get(wanted->body, "max-in-flight") != NULL;
    if (!is_named && load->closed <= limits->max_in_flight)
        return true;
    snprintf(why, RUN_REQUEST_WHY_SIZE,
             "%s: %llu connections are more than the %llu that the limit of open files (ulimit -n) "
             "leaves for a load",
             is_named ? "max-in-flight" : "closed",
             (unsigned long long)(is_named ? asked : load->closed),
             (unsigned long long)limits->max_in_flight);
    return false;
}

static void start(const struct api *api, const struct run_request *wanted,
                  const struct http_request *request, struct http_response *response)
{
    struct test_plan plan;
    char id[RUN_ID_SIZE];
    char why[RUN_REQUEST_WHY_SIZE];
    enum exit_code code = load_options_resolve(&wanted->options, &plan, why, sizeof why);
    if (code == EXIT_PASS && (!check_limits(&api->limits, &plan.load, why) ||
                              !fit_in_flight(&api->limits, wanted, &plan.load, why)))
        code = EXIT_USAGE;
    if (code != EXIT_PASS) {
        run_control_release(api->control);
        /* as the command line has it, less its dashes */
        http_response_refuse(request, response, code == EXIT_USAGE ? 400 : 502,
                             strncmp(why, "--", 2) == 0 ? why + 2 : why);
        return;
    }
    switch (run_control_start(api->control, &plan, wanted->body, id, why, sizeof why)) {
    case RUN_CONTROL_OK:
        answer_started(api, id, wanted->body, request, response);
        break;
    case RUN_CONTROL_UNWATCHED:
        http_response_refuse(request, response, 502, why);
        break;
    default:
        http_response_refuse(request, response, 503, why);
        break;
    }
}

void api_run_post(void *context, const struct http_request *request, struct http_response *response)
{
    const struct api *api = context;
    struct run_request wanted;
    char why[RUN_REQUEST_WHY_SIZE];
    if (!run_request_parse(&wanted, request->body, request->body_size_bytes, api->default_url, why))
        http_response_refuse(request, response, 400, why);
    else if (check_target(api, wanted.options.url, request, response) &&
             reserve(api, request, response))
        start(api, &wanted, request, response);
    run_request_clear(&wanted);
}

void api_run_list(void *context, const struct http_request *request, struct http_response *response)
{
    const struct api *api = context;
    http_response_json(request, response, json_pack("{s:o}", "runs", run_store_list(api->store)));
}

void api_run_get(void *context, const struct http_request *request, struct http_response *response)
{
    const struct api *api = context;
    struct run_live live = {0};
    /* Before the record is read: a run that ends in between is then seen as ended. */
    enum run_control_outcome outcome =
        run_control_snapshot(api->control, request->tail, 0, clock_now_ns(), &live);
    json_t *record = api_load(api, request, response);
    if (!record)
        return;
    if (strcmp(json_string_value(json_object_get(record, "state")), RUN_STATE_RUNNING) == 0)
        json_object_set_new(record, "live",
                            outcome == RUN_CONTROL_OK ? live_json_build(&live) : json_null());
    http_response_json(request, response, record);
}

static bool is_within_limits(const void *context, const struct load_segment *next, uint64_t before,
                             char *why, size_t why_size)
{
    const struct api *api = context;
    struct load_settings load = {.schedule = next->schedule, .retries = next->retries};
    char reason[RUN_REQUEST_WHY_SIZE];
    double attempts = (double)before + (double)next->schedule.count * (1 + next->retries);
    if (!check_limits(&api->limits, &load, reason)) {
        snprintf(why, why_size, "%s", reason);
        return false;
    }
    if (attempts <= (double)api->limits.max_requests)
        return true;
    snprintf(why, why_size,
             "rate: %.6g requests with those before, retries included, are more than the %lld of "
             "--max-requests",
             attempts, (long long)api->limits.max_requests);
    return false;
}

static void refuse_change(const char *id, enum run_control_outcome outcome, const char *why,
                          const struct http_request *request, struct http_response *response)
{
    char message[RUN_REQUEST_WHY_SIZE + 64];
    if (outcome == RUN_CONTROL_WRONG) {
        http_response_refuse(request, response, 400, why);
        return;
    }
    if (outcome == RUN_CONTROL_FIXED)
        why = "it is a closed loop, whose load the answers decide";
    snprintf(message, sizeof message, "run %s cannot be changed: %s", id, why);
    http_response_refuse(request, response, 409, message);
}

void api_run_patch(void *context, const struct http_request *request,
                   struct http_response *response)
{
    const struct api *api = context;
    const char *id = request->tail;
    struct run_request wanted;
    struct load_change change;
    struct load_segment made;
    char why[RUN_REQUEST_WHY_SIZE];
    json_t *record = api_load(api, request, response);
    if (!record)
        return;
    if (!run_request_parse_change(&wanted, &change, request->body, request->body_size_bytes, why)) {
        http_response_refuse(request, response, 400, why);
    } else {
        change.allows = is_within_limits;
        change.context = api;
        enum run_control_outcome outcome =
            run_control_change(api->control, id, &change, &made, why, sizeof why);
        if (outcome == RUN_CONTROL_OK)
            http_response_json(
                request, response,
                json_pack("{s:s, s:o}", "id", id, "segment",
                          segment_json(&made, load_segment_sent_of(&made, made.schedule.count))));
        else
            refuse_change(id, outcome, why, request, response);
    }
    run_request_clear(&wanted);
    json_decref(record);
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
        http_response_refuse(request, response, 409, message);
        json_decref(record);
        return;
    }
    http_response_json(request, response, api_summary(record));
    if (outcome == RUN_CONTROL_BUSY)
        response->status = 202; /* it stops, but has not done so yet */
}
