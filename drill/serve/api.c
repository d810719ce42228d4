#include "drill/serve/api.h"

#include "common/check.h"
#include "common/page/asset.h"
#include "drill/report/grade.h"

#include <limits.h>
#include <math.h>

ASSET(people_html);
ASSET(facilitator_html);

#define WHY_SIZE HTTP_ERROR_SIZE

static void answer(const struct http_request *request, struct http_response *response,
                   enum engine_answer outcome, const char *why)
{
    if (outcome == ENGINE_DONE)
        http_response_json(request, response, json_pack("{s:s}", "done", "yes"));
    else
        http_response_refuse(request, response, (int)outcome, why);
}

/* The body, which must be a JSON object; NULL: that has been answered. */
static json_t *read_body(const struct http_request *request, struct http_response *response)
{
    char message[HTTP_ERROR_SIZE];
    json_error_t error;
    json_t *body =
        json_loadb(request->body, request->body_size_bytes, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(body))
        return body;
    if (body)
        snprintf(message, sizeof message, "the body must be a JSON object");
    else
        snprintf(message, sizeof message, "bad JSON: %s (line %d, column %d)", error.text,
                 error.line, error.column);
    json_decref(body);
    http_response_refuse(request, response, 400, message);
    return NULL;
}

/* Hands the body to one of the engine's functions. */
static void enter(void *context, const struct http_request *request, struct http_response *response,
                  enum engine_answer (*take)(struct engine *engine, const json_t *body, char *why,
                                             size_t why_size))
{
    const struct api *api = context;
    char why[WHY_SIZE] = "";
    json_t *body = read_body(request, response);
    if (!body)
        return;
    answer(request, response, take(api->engine, body, why, sizeof why), why);
    json_decref(body);
}

static void post_entry(void *context, const struct http_request *request,
                       struct http_response *response)
{
    enter(context, request, response, engine_entry);
}

static void post_change(void *context, const struct http_request *request,
                        struct http_response *response)
{
    enter(context, request, response, engine_change);
}

static void post_claim(void *context, const struct http_request *request,
                       struct http_response *response)
{
    enter(context, request, response, engine_claim);
}

static void post_hint(void *context, const struct http_request *request,
                      struct http_response *response)
{
    enter(context, request, response, engine_hint);
}

static void get_people_view(void *context, const struct http_request *request,
                            struct http_response *response)
{
    const struct api *api = context;
    http_response_json(request, response, engine_view(api->engine, false));
}

static void get_whole_view(void *context, const struct http_request *request,
                           struct http_response *response)
{
    const struct api *api = context;
    http_response_json(request, response, engine_view(api->engine, true));
}

static void get_rows(void *context, const struct http_request *request,
                     struct http_response *response)
{
    const struct api *api = context;
    const char *text = "0";
    char *end;
    unsigned given = http_request_argument(request, "from", &text);
    if (given == 0)
        text = "0";
    unsigned long from = strtoul(text, &end, 10);
    if (given > 1 || text[0] < '0' || text[0] > '9' || *end || from > ACCOUNT_SECONDS_MAX)
        http_response_refuse(request, response, 400, "from: not in the range 0..14400");
    else
        http_response_json(request, response, engine_rows(api->engine, (unsigned)from));
}

static void get_scenarios(void *context, const struct http_request *request,
                          struct http_response *response)
{
    const struct api *api = context;
    json_t *list = json_array();
    for (unsigned i = 0; i < api->catalogue->count; i++) {
        const struct scenario *scenario = api->catalogue->scenarios[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i}", "scenario", scenario->name,
                                              "title", scenario->title, "cause", scenario->cause,
                                              "level", (int)scenario->drill.level));
    }
    http_response_json(request, response, json_pack("{s:o}", "scenarios", list));
}

/* A number of the body; NAN: it is none, or out of its range. */
static double read_number(const json_t *body, const char *key, double min, double max,
                          double otherwise)
{
    const json_t *number = json_object_get(body, key);
    if (!number)
        return otherwise;
    double value = json_is_number(number) ? json_number_value(number) : (double)NAN;
    return value >= min && value <= max ? value : (double)NAN;
}

/* What the facilitator asks for. False: that has been answered. */
static bool read_request(const json_t *body, struct engine_request *wanted,
                         const struct http_request *request, struct http_response *response)
{
    const json_t *scenario = json_object_get(body, "scenario");
    bool draws = json_is_true(json_object_get(body, "draw"));
    double seed = read_number(body, "seed", 0, 1e15, 0);
    double level = read_number(body, "level", 0, SCENARIO_LEVELS - 1, 0);
    const char *mistake = NULL;
    *wanted = (struct engine_request){.name = draws ? NULL : json_string_value(scenario),
                                      .lead_times = read_number(body, "lead_times", 0, 10, 1),
                                      .healthy_s = read_number(body, "healthy_s", 10, 3600, 0)};
    if (draws == json_is_string(scenario))
        mistake = "wants either scenario, a name, or draw, true";
    else if (isnan(seed) || seed != floor(seed) || isnan(level) || level != floor(level))
        mistake = "seed must be a whole number, and level one in the range 0..3";
    else if (isnan(wanted->lead_times) || isnan(wanted->healthy_s))
        mistake = "lead_times must be in the range 0..10, and healthy_s in 10..3600";
    if (mistake) {
        http_response_refuse(request, response, 400, mistake);
        return false;
    }
    wanted->seed = (uint64_t)seed;
    wanted->level = (unsigned)level;
    return true;
}

static void post_drill(void *context, const struct http_request *request,
                       struct http_response *response)
{
    const struct api *api = context;
    char why[WHY_SIZE] = "";
    struct engine_request wanted;
    json_t *body = read_body(request, response);
    if (body && read_request(body, &wanted, request, response))
        answer(request, response, engine_start(api->engine, &wanted, why, sizeof why), why);
    json_decref(body);
}

/* As it stands: worked out anew from the record. */
static void get_grade(void *context, const struct http_request *request,
                      struct http_response *response)
{
    const struct api *api = context;
    char folder[PATH_MAX];
    struct replay replay;
    const struct scenario *scenario = engine_record(api->engine, folder, sizeof folder);
    if (!scenario) {
        http_response_refuse(request, response, 409, "there is no drill");
        return;
    }
    if (replay_open(&replay, folder)) {
        struct grade grade = grade_drill(&replay, &scenario->drill);
        http_response_json(request, response, grade_json(&grade));
    } else {
        http_response_error(request, response, 503, -503, "the record cannot be read");
    }
    replay_close(&replay);
}

static void post_stop(void *context, const struct http_request *request,
                      struct http_response *response)
{
    const struct api *api = context;
    char why[WHY_SIZE] = "";
    answer(request, response, engine_stop(api->engine, "exercise stop", why, sizeof why), why);
}

static void get_health(void *context, const struct http_request *request,
                       struct http_response *response)
{
    (void)context;
    http_response_json(request, response, json_pack("{s:s}", "status", "alive"));
}

static void give_page(struct http_response *response, const char *first, const char *end)
{
    response->content_type = "text/html; charset=utf-8";
    text_append(&response->body, first, (size_t)(end - first));
}

static void get_people_page(void *context, const struct http_request *request,
                            struct http_response *response)
{
    (void)context, (void)request;
    give_page(response, asset_people_html, asset_people_html_end);
}

static void get_facilitator_page(void *context, const struct http_request *request,
                                 struct http_response *response)
{
    (void)context, (void)request;
    give_page(response, asset_facilitator_html, asset_facilitator_html_end);
}

static void get_login(void *context, const struct http_request *request,
                      struct http_response *response)
{
    const struct api *api = context;
    (void)request;
    http_login_form(&api->login, response, 200);
}

static void post_login(void *context, const struct http_request *request,
                       struct http_response *response)
{
    const struct api *api = context;
    http_login_enter(&api->login, request, response);
}

const struct http_route people_routes[] = {
    {"GET", "/v1/drill", get_people_view},
    {"GET", "/v1/drill/rows", get_rows},
    {"POST", "/v1/drill/entries", post_entry},
    {"POST", "/v1/drill/changes", post_change},
    {"POST", "/v1/drill/claims", post_claim},
    {"POST", "/v1/drill/hints", post_hint},
    {"GET", "/healthz", get_health},
    {"GET", "/", get_people_page},
    {"GET", "/login", get_login},
    {"POST", "/login", post_login},
};
const size_t people_route_count = sizeof people_routes / sizeof people_routes[0];

const struct http_route facilitator_routes[] = {
    {"GET", "/v1/scenarios", get_scenarios},
    {"POST", "/v1/drills", post_drill},
    {"GET", "/v1/drill", get_whole_view},
    {"GET", "/v1/drill/rows", get_rows},
    {"GET", "/v1/drill/grade", get_grade},
    {"POST", "/v1/drill/stop", post_stop},
    {"GET", "/healthz", get_health},
    {"GET", "/", get_facilitator_page},
    {"GET", "/login", get_login},
    {"POST", "/login", post_login},
};
const size_t facilitator_route_count = sizeof facilitator_routes / sizeof facilitator_routes[0];
