#include "service/toggles/settings.h"

#include "common/check.h"
#include "common/log.h"
#include "common/options.h"

#define RANGE_SIZE 48

const struct setting_definition setting_definitions[] = {
#define SETTING(KIND, name_, field, fallback, min_, max_, argument, help)                          \
    {.name = (name_), .is_real = OPTION_##KIND == OPTION_REAL, .min = (min_), .max = (max_)},
#include "service/toggles/settings.tbl.h"
};

static enum setting setting_by_name(const char *name)
{
    enum setting setting = 0;
    while (setting < SETTINGS && strcmp(setting_definitions[setting].name, name) != 0)
        setting++;
    return setting;
}

static void write_range(enum setting setting, char range[RANGE_SIZE])
{
    const struct setting_definition *definition = &setting_definitions[setting];
    snprintf(range, RANGE_SIZE, "%.0f..%.0f", definition->min, definition->max);
}

/* As an option of the command line is read. */
static bool parse_value(enum setting setting, const char *text, double *value)
{
    const struct setting_definition *definition = &setting_definitions[setting];
    int64_t integer = 0;
    double real = 0;
    struct option option = {.name = definition->name,
                            .kind = definition->is_real ? OPTION_REAL : OPTION_INTEGER,
                            .min = definition->min,
                            .max = definition->max};
    if (definition->is_real)
        option.value = &real;
    else
        option.value = &integer;
    if (!options_set(&option, text))
        return false;
    *value = definition->is_real ? real : (double)integer;
    return true;
}

/* False where there is no row, or none that we understand. */
static bool stored_value(const json_t *stored, enum setting setting, double *value)
{
    const char *name = setting_definitions[setting].name;
    const char *text = json_string_value(json_object_get(stored, name));
    char range[RANGE_SIZE];
    if (!text || parse_value(setting, text, value))
        return text != NULL;
    write_range(setting, range);
    stored_value_warn("the database has a setting out of its range", "setting", name, text, range);
    return false;
}

static void warn_of_unknown(const json_t *stored)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)stored, name, value) {
        if (setting_by_name(name) == SETTINGS)
            stored_value_warn("the database has an unknown setting", "setting", name,
                              json_is_string(value) ? json_string_value(value) : "", NULL);
    }
}

/* What a start with these rows has in force. */
static void settle(const struct settings *settings, const json_t *stored, double value[SETTINGS],
                   enum value_origin origin[SETTINGS])
{
    if (stored)
        warn_of_unknown(stored);
    for (enum setting setting = 0; setting < SETTINGS; setting++) {
        bool is_stored = stored_value(stored, setting, &value[setting]);
        origin[setting] = is_stored ? VALUE_FROM_DATABASE : settings->option_origin[setting];
        if (!is_stored)
            value[setting] = settings->option[setting];
    }
    if (value[SETTING_pool_min] <= value[SETTING_pool_size])
        return;
    log_line(LOG_WARN, "pool-min is larger than pool-size, which counts for both",
             json_pack("{s:f, s:f}", "pool_min", value[SETTING_pool_min], "pool_size",
                       value[SETTING_pool_size]));
    value[SETTING_pool_min] = value[SETTING_pool_size];
}

void settings_init(struct settings *settings, const double option[SETTINGS],
                   const enum value_origin origin[SETTINGS], const json_t *stored)
{
    CHECK_PTHREAD(pthread_mutex_init(&settings->lock, NULL));
    memcpy(settings->option, option, sizeof settings->option);
    memcpy(settings->option_origin, origin, sizeof settings->option_origin);
    settle(settings, stored, settings->value, settings->origin);
    memcpy(settings->next, settings->value, sizeof settings->next);
}

void settings_note(struct settings *settings, const json_t *stored)
{
    double next[SETTINGS];
    enum value_origin origin[SETTINGS];
    assert(json_is_object(stored));
    settle(settings, stored, next, origin);
    CHECK_PTHREAD(pthread_mutex_lock(&settings->lock));
    memcpy(settings->next, next, sizeof settings->next);
    CHECK_PTHREAD(pthread_mutex_unlock(&settings->lock));
}

bool settings_need_restart(struct settings *settings)
{
    CHECK_PTHREAD(pthread_mutex_lock(&settings->lock));
    bool need = false;
    for (enum setting setting = 0; setting < SETTINGS; setting++)
        need |= settings->next[setting] != settings->value[setting];
    CHECK_PTHREAD(pthread_mutex_unlock(&settings->lock));
    return need;
}

static json_t *number(enum setting setting, double value)
{
    return setting_definitions[setting].is_real ? json_real(value)
                                                : json_integer((json_int_t)value);
}

static json_t *describe(const struct settings *settings, enum setting setting)
{
    const struct setting_definition *definition = &setting_definitions[setting];
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o}", "name", definition->name, "value",
                     number(setting, settings->value[setting]), "origin",
                     value_origin_names[settings->origin[setting]], "next",
                     number(setting, settings->next[setting]), "min",
                     number(setting, definition->min), "max", number(setting, definition->max));
}

json_t *settings_describe(struct settings *settings)
{
    json_t *array = json_array();
    CHECK_PTHREAD(pthread_mutex_lock(&settings->lock));
    for (enum setting setting = 0; setting < SETTINGS; setting++)
        json_array_append_new(array, describe(settings, setting));
    CHECK_PTHREAD(pthread_mutex_unlock(&settings->lock));
    return array;
}

/* The value that the changes lead to: their own, else the option where they remove the stored one,
 * else the one that is there. -1: not known. */
static double value_after(const json_t *changes, struct settings *settings, enum setting setting)
{
    const json_t *value = json_object_get(changes, setting_definitions[setting].name);
    if (json_is_number(value))
        return json_number_value(value);
    if (!settings)
        return -1;
    CHECK_PTHREAD(pthread_mutex_lock(&settings->lock));
    double after = value ? settings->option[setting] : settings->next[setting];
    CHECK_PTHREAD(pthread_mutex_unlock(&settings->lock));
    return after;
}

static bool check_value(const char *name, const json_t *value, char *message, size_t size)
{
    char range[RANGE_SIZE];
    enum setting setting = setting_by_name(name);
    if (setting == SETTINGS) {
        snprintf(message, size, "unknown setting '%.40s'", name);
        return false;
    }
    const struct setting_definition *definition = &setting_definitions[setting];
    bool is_number = definition->is_real ? json_is_number(value) : json_is_integer(value);
    if (json_is_null(value) || (is_number && json_number_value(value) >= definition->min &&
                                json_number_value(value) <= definition->max))
        return true;
    write_range(setting, range);
    snprintf(message, size, "setting '%s' must be %s in the range %s, or null", name,
             definition->is_real ? "a number" : "an integer", range);
    return false;
}

bool settings_check(const json_t *changes, struct settings *settings, char *message, size_t size)
{
    const char *name;
    json_t *value;
    if (!json_is_object(changes)) {
        snprintf(message, size,
                 "the body must be a JSON object of settings, such as {\"pool-size\":40}");
        return false;
    }
    json_object_foreach ((json_t *)(uintptr_t)changes, name, value) {
        if (!check_value(name, value, message, size))
            return false;
    }
    double pool_size = value_after(changes, settings, SETTING_pool_size);
    double pool_min = value_after(changes, settings, SETTING_pool_min);
    if (pool_size < 0 || pool_min <= pool_size)
        return true;
    snprintf(message, size, "setting 'pool-min' would be %.0f, and must be at most pool-size, %.0f",
             pool_min, pool_size);
    return false;
}
