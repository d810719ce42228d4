#include "tests/cmap/scenario.h"

#include "common/check.h"

#include <limits.h>
#include <stdarg.h>

/* Larger values are mistakes: an hour, and the most connections that the runner's pool can have. */
#define MAX_MS    INT64_C(3600000)
#define MAX_COUNT 10000

/* The default interval of the pool's background thread. It is longer than any file takes, so that
 * no file depends on the thread by accident. */
#define DEFAULT_INTERVAL_MS 10000
#define DEFAULT_EVENT_MS    10000

/* What every operation may have; `comment` is for the reader. */
#define COMMON_FORMAT "s:s, s?s, s?s"
#define COMMON_PLACES(operation)                                                                   \
    "name", &(operation)->name, "thread", &(operation)->thread, "comment", &unread

bool cmap_why_set(struct cmap_why *why, const char *format, ...)
{
    va_list arguments;
    if (why->text[0])
        return false;
    va_start(arguments, format);
    vsnprintf(why->text, sizeof why->text, format, arguments);
    va_end(arguments);
    return false;
}

static bool event_type(const char *name, enum db_pool_event_type *type)
{
    for (unsigned i = 0; i < DB_POOL_EVENT_TYPES; i++)
        if (strcmp(db_pool_event_name(i), name) == 0) {
            *type = i;
            return true;
        }
    return false;
}

static bool within(const char *name, json_int_t value, json_int_t least, json_int_t most,
                   struct cmap_why *why)
{
    return (value >= least && value <= most) ||
           cmap_why_set(why,
                        "%s is %" JSON_INTEGER_FORMAT ": not in %" JSON_INTEGER_FORMAT
                        "..%" JSON_INTEGER_FORMAT,
                        name, value, least, most);
}

static bool read_options(json_t *source, struct cmap_options *options, struct cmap_why *why)
{
    json_error_t error;
    json_int_t max_size = 100;
    json_int_t min_size = 0;
    json_int_t max_connecting = 2;
    json_int_t max_idle_ms = 0;
    json_int_t wait_ms = 0;
    json_int_t interval_ms = 0;
    if (source &&
        json_unpack_ex(source, &error, 0, "{s?I, s?I, s?I, s?I, s?I, s?I, s?s !}", "maxPoolSize",
                       &max_size, "minPoolSize", &min_size, "maxConnecting", &max_connecting,
                       "maxIdleTimeMS", &max_idle_ms, "waitQueueTimeoutMS", &wait_ms,
                       "backgroundThreadIntervalMS", &interval_ms, "appName", &options->app_name))
        return cmap_why_set(why, "poolOptions: %s", error.text);
    if (!within("maxPoolSize", max_size, 0, MAX_COUNT, why) ||
        !within("minPoolSize", min_size, 0, max_size ? max_size : MAX_COUNT, why) ||
        !within("maxConnecting", max_connecting, 1, MAX_COUNT, why) ||
        !within("maxIdleTimeMS", max_idle_ms, 0, MAX_MS, why) ||
        !within("waitQueueTimeoutMS", wait_ms, 0, MAX_MS, why) ||
        !within("backgroundThreadIntervalMS", interval_ms, -MAX_MS, MAX_MS, why))
        return false;
    options->max_size = (unsigned)max_size;
    options->min_size = (unsigned)min_size;
    options->max_connecting = (unsigned)max_connecting;
    options->max_idle_ms = max_idle_ms;
    options->wait_queue_timeout_ms = wait_ms;
    options->background_interval_ms = interval_ms ? interval_ms : DEFAULT_INTERVAL_MS;
    return true;
}

/* "alwaysOn", "off" or {"times": N}. */
static bool read_mode(json_t *mode, long *times, struct cmap_why *why)
{
    json_error_t error;
    json_int_t number = 0;
    const char *word = json_string_value(mode);
    if (word && strcmp(word, "alwaysOn") == 0)
        *times = CMAP_ALWAYS;
    else if (word && strcmp(word, "off") == 0)
        *times = 0;
    else if (word || json_unpack_ex(mode, &error, 0, "{s:I !}", "times", &number))
        return cmap_why_set(why, "failPoint: mode is neither alwaysOn, off nor times");
    else
        *times = (long)number;
    return within("failPoint: times", number, 0, MAX_COUNT, why);
}

static bool read_commands(const json_t *commands, struct cmap_why *why)
{
    size_t at;
    const json_t *command;
    if (json_array_size(commands) == 0)
        return cmap_why_set(why, "failPoint: failCommands is not a list of commands");
    json_array_foreach (commands, at, command) {
        const char *name = json_string_value(command);
        if (!name || (strcmp(name, "hello") != 0 && strcmp(name, "isMaster") != 0))
            return cmap_why_set(why, "failPoint: only a connect (hello, isMaster) can fail");
    }
    return true;
}

static bool read_fail_point(json_t *source, struct cmap_fail_point *point, struct cmap_why *why)
{
    json_error_t error;
    const char *configures = NULL;
    json_t *mode = NULL;
    json_t *commands = NULL;
    json_int_t block_ms = 0;
    json_int_t error_code = 0;
    int blocks = 0;
    int closes = 0;
    if (!source)
        return true;
    if (json_unpack_ex(source, &error, 0, "{s:s, s:o, s:{s:o, s?b, s?b, s?I, s?I, s?s !} !}",
                       "configureFailPoint", &configures, "mode", &mode, "data", "failCommands",
                       &commands, "closeConnection", &closes, "blockConnection", &blocks,
                       "blockTimeMS", &block_ms, "errorCode", &error_code, "appName",
                       &point->app_name))
        return cmap_why_set(why, "failPoint: %s", error.text);
    if (strcmp(configures, "failCommand") != 0)
        return cmap_why_set(why, "failPoint: %s is not known", configures);
    point->block_ms = blocks ? block_ms : 0;
    point->error_code = error_code;
    point->closes = closes;
    return within("failPoint: blockTimeMS", block_ms, 0, MAX_MS, why) &&
           read_commands(commands, why) && read_mode(mode, &point->times, why);
}

static int read_plain(json_t *source, struct cmap_operation *operation, json_error_t *error)
{
    const char *unread;
    return json_unpack_ex(source, error, 0, "{" COMMON_FORMAT " !}", COMMON_PLACES(operation));
}

static int read_target(json_t *source, struct cmap_operation *operation, json_error_t *error)
{
    const char *unread;
    return json_unpack_ex(source, error, 0, "{" COMMON_FORMAT ", s:s !}", COMMON_PLACES(operation),
                          "target", &operation->target);
}

static int read_wait(json_t *source, struct cmap_operation *operation, json_error_t *error)
{
    const char *unread;
    json_int_t ms = 0;
    int result = json_unpack_ex(source, error, 0, "{" COMMON_FORMAT ", s:I !}",
                                COMMON_PLACES(operation), "ms", &ms);
    operation->ms = ms;
    return result;
}

static int read_event(json_t *source, struct cmap_operation *operation, json_error_t *error)
{
    const char *unread;
    const char *event = "";
    json_int_t count = 0;
    json_int_t ms = DEFAULT_EVENT_MS;
    int result =
        json_unpack_ex(source, error, 0, "{" COMMON_FORMAT ", s:s, s:I, s?I !}",
                       COMMON_PLACES(operation), "event", &event, "count", &count, "timeout", &ms);
    if (result)
        return result;
    operation->ms = ms;
    operation->count = count > 0 && count <= MAX_COUNT ? (unsigned)count : 0;
    if (event_type(event, &operation->event) && operation->count > 0)
        return 0;
    snprintf(error->text, sizeof error->text, "%s is not an event to be waited for", event);
    return -1;
}

static int read_check_out(json_t *source, struct cmap_operation *operation, json_error_t *error)
{
    const char *unread;
    return json_unpack_ex(source, error, 0, "{" COMMON_FORMAT ", s?s !}", COMMON_PLACES(operation),
                          "label", &operation->label);
}

static int read_check_in(json_t *source, struct cmap_operation *operation, json_error_t *error)
{
    const char *unread;
    return json_unpack_ex(source, error, 0, "{" COMMON_FORMAT ", s:s !}", COMMON_PLACES(operation),
                          "connection", &operation->label);
}

static int read_clear(json_t *source, struct cmap_operation *operation, json_error_t *error)
{
    const char *unread;
    int interrupt = 0;
    int result = json_unpack_ex(source, error, 0, "{" COMMON_FORMAT ", s?b !}",
                                COMMON_PLACES(operation), "interruptInUseConnections", &interrupt);
    operation->interrupt = interrupt;
    return result;
}

static bool read_operation(json_t *source, size_t at, struct cmap_operation *operation,
                           struct cmap_why *why)
{
    static const struct {
        const char *name;
        enum cmap_operation_kind kind;
        int (*read)(json_t *source, struct cmap_operation *operation, json_error_t *error);
    } known[] = {
        {"start", CMAP_START, read_target},
        {"wait", CMAP_WAIT, read_wait},
        {"waitForThread", CMAP_WAIT_FOR_THREAD, read_target},
        {"waitForEvent", CMAP_WAIT_FOR_EVENT, read_event},
        {"checkOut", CMAP_CHECK_OUT, read_check_out},
        {"checkIn", CMAP_CHECK_IN, read_check_in},
        {"clear", CMAP_CLEAR, read_clear},
        {"close", CMAP_CLOSE, read_plain},
        {"ready", CMAP_READY, read_plain},
    };
    json_error_t error;
    const char *name = json_string_value(json_object_get(source, "name"));
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) != 0)
            continue;
        operation->kind = known[i].kind;
        if (known[i].read(source, operation, &error))
            return cmap_why_set(why, "operation %zu (%s): %s", at, name, error.text);
        return within("an operation's time", operation->ms, 0, MAX_MS, why);
    }
    return cmap_why_set(why, "operation %zu: %s is not known", at,
                        name ? name : "one without a name");
}

static bool read_operations(json_t *source, struct cmap_scenario *scenario, struct cmap_why *why)
{
    if (!json_is_array(source))
        return cmap_why_set(why, "operations is not a list");
    size_t count = json_array_size(source);
    scenario->operations = calloc(count + 1, sizeof *scenario->operations);
    assert(scenario->operations);
    scenario->operation_count = count;
    for (size_t i = 0; i < count; i++)
        if (!read_operation(json_array_get(source, i), i + 1, &scenario->operations[i], why))
            return false;
    return true;
}

static bool read_error(json_t *source, struct cmap_scenario *scenario, struct cmap_why *why)
{
    static const char *const types[] = {"PoolClosedError", "PoolClearedError",
                                        "WaitQueueTimeoutError"};
    json_error_t error;
    if (!source)
        return true;
    if (json_unpack_ex(source, &error, 0, "{s:s, s?o, s?o !}", "type", &scenario->error_type,
                       "message", &scenario->error_message, "address", &scenario->error_address))
        return cmap_why_set(why, "error: %s", error.text);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i], scenario->error_type) == 0)
            return true;
    return cmap_why_set(why, "error: %s is not known", scenario->error_type);
}

static bool read_events(json_t *source, struct cmap_scenario *scenario, struct cmap_why *why)
{
    size_t at;
    json_t *event;
    if (source && !json_is_array(source))
        return cmap_why_set(why, "events is not a list");
    json_array_foreach (source, at, event) {
        json_error_t error;
        const char *name = "";
        const char *unread;
        const json_t *field;
        enum db_pool_event_type type;
        if (json_unpack_ex(event, &error, 0, "{s:s, s?s, s?o, s?o, s?o, s?o, s?o, s?o !}", "type",
                           &name, "comment", &unread, "address", &field, "connectionId", &field,
                           "options", &field, "reason", &field, "duration", &field,
                           "interruptInUseConnections", &field))
            return cmap_why_set(why, "event %zu: %s", at + 1, error.text);
        if (!event_type(name, &type))
            return cmap_why_set(why, "event %zu: %s is not known", at + 1, name);
    }
    scenario->events = source;
    return true;
}

static bool read_ignored(json_t *source, struct cmap_scenario *scenario, struct cmap_why *why)
{
    size_t at;
    const json_t *name;
    if (source && !json_is_array(source))
        return cmap_why_set(why, "ignore is not a list");
    json_array_foreach (source, at, name) {
        enum db_pool_event_type type;
        if (!json_is_string(name) || !event_type(json_string_value(name), &type))
            return cmap_why_set(why, "ignore: entry %zu is not an event", at + 1);
        scenario->ignored[type] = true;
    }
    return true;
}

static bool read_top(struct cmap_scenario *scenario, struct cmap_why *why)
{
    json_error_t error;
    json_int_t version = 0;
    const char *style = NULL;
    const char *unread;
    const json_t *run_on; /* selects MongoDB servers: not used, no file is skipped */
    json_t *options = NULL;
    json_t *fail_point = NULL;
    json_t *operations = NULL;
    json_t *expected_error = NULL;
    json_t *events = NULL;
    json_t *ignored = NULL;
    if (json_unpack_ex(scenario->root, &error, 0,
                       "{s:I, s:s, s:s, s?s, s?o, s?o, s?o, s:o, s?o, s?o, s?o !}", "version",
                       &version, "style", &style, "description", &scenario->description, "comment",
                       &unread, "runOn", &run_on, "poolOptions", &options, "failPoint", &fail_point,
                       "operations", &operations, "error", &expected_error, "events", &events,
                       "ignore", &ignored))
        return cmap_why_set(why, "%s", error.text);
    if (version != 1)
        return cmap_why_set(why, "version is not 1");
    if (strcmp(style, "unit") != 0 && strcmp(style, "integration") != 0)
        return cmap_why_set(why, "style %s is not known", style);
    return read_options(options, &scenario->options, why) &&
           read_fail_point(fail_point, &scenario->fail_point, why) &&
           read_operations(operations, scenario, why) &&
           read_error(expected_error, scenario, why) && read_events(events, scenario, why) &&
           read_ignored(ignored, scenario, why);
}

bool cmap_scenario_read(const char *path, struct cmap_scenario *scenario, struct cmap_why *why)
{
    json_error_t error;
    *scenario = (struct cmap_scenario){.description = ""};
    scenario->root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!scenario->root)
        return cmap_why_set(why, "line %d: %s", error.line, error.text);
    return read_top(scenario, why);
}

void cmap_scenario_free(struct cmap_scenario *scenario)
{
    free(scenario->operations);
    json_decref(scenario->root);
}
