#include "loadtest/serve/run_request.h"

#include "common/check.h"
#include "common/text.h"

#include <math.h>

/* How much of a client's text an error shows. */
#define SHOWN_SIZE 65

static bool is_callers(const struct option *option)
{
    return strcmp(option->name, "admin-url") != 0 && strcmp(option->name, "admin-token-file") != 0;
}

static struct option *find_key(struct option *table, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i].name, key) == 0)
            return &table[i];
    return NULL;
}

static void refuse_key(const struct option *known, const struct option *table, size_t count,
                       const char *key, char *why)
{
    char shown[SHOWN_SIZE];
    text_one_line(key, shown, sizeof shown);
    if (known) {
        snprintf(why, RUN_REQUEST_WHY_SIZE,
                 "%s: is an option of loadtest serve, and not the caller's to choose", shown);
        return;
    }
    size_t at = (size_t)snprintf(why, RUN_REQUEST_WHY_SIZE, "unknown key '%s' (", shown);
    for (size_t i = 0; i < count && at < RUN_REQUEST_WHY_SIZE; i++)
        if (is_callers(&table[i]))
            at += (size_t)snprintf(why + at, RUN_REQUEST_WHY_SIZE - at, "%s%s", i ? "|" : "",
                                   table[i].name);
    if (at < RUN_REQUEST_WHY_SIZE)
        snprintf(why + at, RUN_REQUEST_WHY_SIZE - at, ")");
}

static const char *wanted(enum option_kind kind)
{
    switch (kind) {
    case OPTION_INTEGER:
        return "a whole number";
    case OPTION_REAL:
        return "a number";
    case OPTION_DURATION:
        return "a number of seconds or a text like \"10s\"";
    case OPTION_LIST:
        return "a text or an array of texts";
    case OPTION_TEXT:
    case OPTION_CHOICE:
        break;
    }
    return "a text";
}

static bool refuse_type(const struct option *option, char *why)
{
    char range[256];
    options_range(option, range, sizeof range);
    snprintf(why, RUN_REQUEST_WHY_SIZE, "%s: wants %s, in the range %s", option->name,
             wanted(option->kind), range);
    return false;
}

static bool set_text(struct option *option, const char *text, char *why)
{
    char range[256];
    char shown[SHOWN_SIZE];
    if (options_set(option, text))
        return true;
    if (option->kind == OPTION_LIST) {
        snprintf(why, RUN_REQUEST_WHY_SIZE, "%s: more than %d of them", option->name,
                 OPTION_LIST_MAX);
        return false;
    }
    options_range(option, range, sizeof range);
    text_one_line(text, shown, sizeof shown);
    snprintf(why, RUN_REQUEST_WHY_SIZE, "%s: '%s' is not in the range %s", option->name, shown,
             range);
    return false;
}

static bool set_number(struct run_request *request, struct option *option, const json_t *value,
                       char *why)
{
    char number[64];
    if (option->kind != OPTION_INTEGER && option->kind != OPTION_REAL &&
        option->kind != OPTION_DURATION)
        return refuse_type(option, why);
    if (json_is_integer(value))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    else if (option->kind == OPTION_INTEGER && fabs(json_real_value(value)) < 1e18 &&
             json_real_value(value) == floor(json_real_value(value)))
        snprintf(number, sizeof number, "%.0f", json_real_value(value)); /* 1e3 */
    else
        snprintf(number, sizeof number, "%.15g", json_real_value(value));
    json_t *text = json_string(number);
    if (json_array_append_new(request->texts, text))
        return refuse_type(option, why);
    return set_text(option, json_string_value(text), why);
}

static bool set_list(struct option *option, const json_t *array, char *why)
{
    size_t at;
    json_t *value;
    if (option->kind != OPTION_LIST)
        return refuse_type(option, why);
    json_array_foreach (array, at, value) {
        if (!json_is_string(value))
            return refuse_type(option, why);
        if (!set_text(option, json_string_value(value), why))
            return false;
    }
    return true;
}

static bool set_value(struct run_request *request, struct option *option, const json_t *value,
                      char *why)
{
    if (json_is_string(value))
        return set_text(option, json_string_value(value), why);
    if (json_is_number(value))
        return set_number(request, option, value, why);
    if (json_is_array(value))
        return set_list(option, value, why);
    return refuse_type(option, why);
}

static bool parse_body(struct run_request *request, const char *body, size_t size_bytes,
                       const char *nothing, char *why)
{
    json_error_t error;
    request->body = json_loadb(body, size_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!request->body) {
        char shown[160];
        text_one_line(error.text, shown, sizeof shown);
        snprintf(why, RUN_REQUEST_WHY_SIZE, "bad JSON: %s (line %d, column %d)", shown, error.line,
                 error.column);
        return false;
    }
    if (!json_is_object(request->body))
        snprintf(why, RUN_REQUEST_WHY_SIZE, "the body is no JSON object; %s", nothing);
    return json_is_object(request->body);
}

static bool set_values(struct run_request *request, struct option *table, size_t count, char *why)
{
    const char *key;
    json_t *value;
    json_object_foreach (request->body, key, value) {
        struct option *option = find_key(table, count, key);
        if (!option || !is_callers(option)) {
            refuse_key(option, table, count, key, why);
            return false;
        }
        if (!set_value(request, option, value, why))
            return false;
    }
    return true;
}

bool run_request_parse(struct run_request *request, const char *body, size_t size_bytes,
                       const char *default_url, char why[RUN_REQUEST_WHY_SIZE])
{
    struct option table[LOAD_OPTIONS_MAX];
    *request = (struct run_request){.texts = json_array()};
    size_t count = load_options_table(&request->options, LOAD_OPTIONS_RUN, table);
    options_set_defaults(table, count);
    request->options.url = default_url;
    return parse_body(request, body, size_bytes, "{} starts a run with the defaults", why) &&
           set_values(request, table, count, why);
}

static bool has(const struct run_request *request, const char *key)
{
    return json_object_get(request->body, key) != NULL;
}

bool run_request_parse_change(struct run_request *request, struct load_change *change,
                              const char *body, size_t size_bytes, char why[RUN_REQUEST_WHY_SIZE])
{
    struct option table[LOAD_OPTIONS_MAX];
    const struct load_options *options = &request->options;
    *request = (struct run_request){.texts = json_array()};
    size_t count = load_options_table(&request->options, LOAD_OPTIONS_CHANGE, table);
    options_set_defaults(table, count);
    if (!parse_body(request, body, size_bytes, "its keys are what changes", why) ||
        !set_values(request, table, count, why))
        return false;
    if (json_object_size(request->body) == 0) {
        snprintf(why, RUN_REQUEST_WHY_SIZE, "the body names nothing to change");
        return false;
    }
    *change = (struct load_change){
        .has_rate = has(request, "rate"),
        .rate_per_s = options->rate_per_s,
        .stages = options->stages,
        .has_arrivals = has(request, "arrivals"),
        .arrivals = strcmp(options->arrivals, schedule_arrivals_name(ARRIVALS_POISSON)) == 0
                        ? ARRIVALS_POISSON
                        : ARRIVALS_CONSTANT,
        .has_items = has(request, "items"),
        .items = (uint32_t)options->items,
        .has_retries = has(request, "retries"),
        .retries = (unsigned)options->retries,
        .has_retry_budget = has(request, "retry-budget"),
        .retry_budget_percent = options->retry_budget_percent,
        .has_share = has(request, "share"),
        .share_percent = options->share_percent,
        .has_seed = has(request, "seed"),
        .seed = (uint64_t)options->seed,
    };
    return true;
}

void run_request_clear(struct run_request *request)
{
    json_decref(request->body);
    json_decref(request->texts);
    *request = (struct run_request){0};
}
