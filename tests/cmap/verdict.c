#include "tests/cmap/verdict.h"

#include "common/check.h"
#include "common/clock.h"

#include <ctype.h>

/* The options of ConnectionPoolCreated, from the configuration of the pool. */
static json_t *options_json(const struct cmap_session *session)
{
    const struct db_pool_config *config = &session->config;
    bool is_limited = session->scenario->options.max_size > 0;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I}", "maxPoolSize",
        (json_int_t)(is_limited ? config->max_size : 0), "minPoolSize",
        (json_int_t)config->min_size, "maxConnecting", (json_int_t)config->max_connecting,
        "maxIdleTimeMS", (json_int_t)(config->max_idle_ns / CLOCK_NS_PER_MS), "waitQueueTimeoutMS",
        (json_int_t)(config->wait_queue_timeout_ns / CLOCK_NS_PER_MS), "backgroundThreadIntervalMS",
        (json_int_t)(config->background_interval_ns / CLOCK_NS_PER_MS));
}

static bool has_duration(enum db_pool_event_type type)
{
    return type == CONNECTION_READY || type == CHECKED_OUT || type == CHECK_OUT_FAILED;
}

static json_t *event_json(const struct cmap_session *session, const struct db_pool_event *event)
{
    json_t *json = json_pack("{s:s, s:s}", "type", db_pool_event_name(event->type), "address",
                             session->config.address);
    assert(json);
    int failed = 0;
    if (event->type == POOL_CREATED)
        failed |= json_object_set_new(json, "options", options_json(session));
    if (event->type == POOL_CLEARED)
        failed |=
            json_object_set_new(json, "interruptInUseConnections", json_boolean(event->interrupt));
    if (event->connection_id > 0)
        failed |= json_object_set_new(json, "connectionId", json_integer(event->connection_id));
    if (event->reason != REASON_NONE)
        failed |=
            json_object_set_new(json, "reason", json_string(db_pool_reason_name(event->reason)));
    if (has_duration(event->type))
        failed |= json_object_set_new(
            json, "duration", json_real((double)event->duration_ns / (double)CLOCK_NS_PER_MS));
    assert(!failed);
    return json;
}

json_t *cmap_verdict_events(struct cmap_session *session, double **times_ms)
{
    size_t count;
    struct db_pool_event *events = cmap_recorder_copy(&session->recorder, &count);
    json_t *array = json_array();
    double *times = calloc(count + 1, sizeof *times);
    assert(array && times);
    for (size_t i = 0; i < count; i++) {
        int failed = json_array_append_new(array, event_json(session, &events[i]));
        assert(!failed);
        times[i] = (double)(events[i].at_ns - events[0].at_ns) / (double)CLOCK_NS_PER_MS;
    }
    free(events);
    *times_ms = times;
    return array;
}

/* 42 or "42": any value, but there must be one. */
static bool is_placeholder(const json_t *expected)
{
    const char *string = json_string_value(expected);
    return json_integer_value(expected) == 42 || (string && strcmp(string, "42") == 0);
}

static bool value_matches(const json_t *expected, const json_t *actual)
{
    if (is_placeholder(expected))
        return actual && !json_is_null(actual);
    if (json_is_number(expected) && json_is_number(actual))
        return json_number_value(expected) == json_number_value(actual);
    return json_equal(expected, actual);
}

/* Whether the other object has each member with a matching value. Does not look into objects inside
 * these objects. */
static bool members_match(json_t *expected, const json_t *actual)
{
    const char *key;
    json_t *value;
    json_object_foreach (expected, key, value) {
        if (!value_matches(value, json_object_get(actual, key)))
            return false;
    }
    return true;
}

/* Whether the event matches. An event has at most one level of objects in it (options). */
static bool event_matches(json_t *expected, const json_t *actual)
{
    const char *key;
    json_t *value;
    json_object_foreach (expected, key, value) {
        const json_t *partner = json_object_get(actual, key);
        bool matches = json_is_object(value) && json_is_object(partner)
                           ? members_match(value, partner)
                           : value_matches(value, partner);
        if (!matches && strcmp(key, "comment") != 0)
            return false;
    }
    return true;
}

static bool is_ignored(const struct cmap_scenario *scenario, const json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "type"));
    for (unsigned i = 0; i < DB_POOL_EVENT_TYPES; i++)
        if (scenario->ignored[i] && strcmp(db_pool_event_name(i), name) == 0)
            return true;
    return false;
}

static bool differs(size_t at, const json_t *expected, const json_t *actual, struct cmap_why *why)
{
    char *want = json_dumps(expected, JSON_COMPACT);
    char *got = actual ? json_dumps(actual, JSON_COMPACT | JSON_REAL_PRECISION(4)) : NULL;
    cmap_why_set(why, "event %zu: expected %s, but there %s %s", at, want ? want : "?",
                 actual ? "was" : "were", got ? got : "no more");
    free(want);
    free(got);
    return false;
}

bool cmap_verdict_on_events(const struct cmap_scenario *scenario, const json_t *events,
                            struct cmap_why *why)
{
    size_t at;
    json_t *expected;
    size_t next = 0;
    json_array_foreach (scenario->events, at, expected) {
        while (next < json_array_size(events) && is_ignored(scenario, json_array_get(events, next)))
            next++;
        const json_t *actual = json_array_get(events, next);
        if (!actual || !event_matches(expected, actual))
            return differs(at + 1, expected, actual, why);
        next++;
    }
    return true;
}

/* Ignores the case of the first letter: our messages begin without a capital, as in Go, those of
 * the specification with one. */
static bool same_message(const char *expected, const char *actual)
{
    return tolower((unsigned char)*expected) == tolower((unsigned char)*actual) &&
           (!*expected || strcmp(expected + 1, actual + 1) == 0);
}

bool cmap_verdict_on_error(const struct cmap_scenario *scenario, const struct cmap_error *error,
                           const char *address, struct cmap_why *why)
{
    const char *type = scenario->error_type;
    const json_t *message = scenario->error_message;
    const json_t *expected_address = scenario->error_address;
    if (!type && !error->type)
        return true;
    if (!type)
        return cmap_why_set(why, "error: expected none, but there was %s: %s", error->type,
                            error->message);
    if (!error->type)
        return cmap_why_set(why, "error: expected %s, but there was none", type);
    if (strcmp(type, error->type) != 0)
        return cmap_why_set(why, "error: expected %s, but it was %s: %s", type, error->type,
                            error->message);
    if (message && !is_placeholder(message) &&
        (!json_is_string(message) || !same_message(json_string_value(message), error->message)))
        return cmap_why_set(why, "error: the message was \"%s\"", error->message);
    if (expected_address && !is_placeholder(expected_address) &&
        (!json_is_string(expected_address) ||
         strcmp(json_string_value(expected_address), address) != 0))
        return cmap_why_set(why, "error: the address is %s", address);
    return true;
}

void cmap_verdict_print(const json_t *events, const double *times_ms, struct text *out)
{
    size_t at;
    const json_t *event;
    json_array_foreach (events, at, event) {
        char *line = json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(4));
        text_addf(out, "       %9.3f ms %s\n", times_ms[at], line ? line : "?");
        free(line);
    }
}
