#include "service/toggles/toggles.h"

#include "common/check.h"
#include "common/log.h"

void toggles_init(struct toggles *toggles, const char *const values[TOGGLES],
                  const enum value_origin origins[TOGGLES])
{
    CHECK_PTHREAD(pthread_mutex_init(&toggles->lock, NULL));
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++) {
        toggles->start_index[toggle] = toggle_value_index(toggle, values[toggle]);
        assert(toggles->start_index[toggle] >= 0);
        assert(origins[toggle] != VALUE_FROM_DATABASE); /* which was not asked yet */
        toggles->start_origin[toggle] = origins[toggle];
        toggles->index[toggle] = toggles->start_index[toggle];
        toggles->origin[toggle] = origins[toggle];
    }
}

struct variant_set toggles_select(struct toggles *toggles)
{
    CHECK_PTHREAD(pthread_mutex_lock(&toggles->lock));
    struct variant_set variants = variants_select(toggles->index);
    CHECK_PTHREAD(pthread_mutex_unlock(&toggles->lock));
    return variants;
}

static void log_change(enum toggle toggle, int from, int to, enum value_origin origin)
{
    log_line(LOG_INFO, "toggle changed",
             json_pack("{s:s, s:s, s:s, s:s}", "toggle", toggle_definitions[toggle].name, "from",
                       toggle_value_name(toggle, from), "to", toggle_value_name(toggle, to),
                       "origin", value_origin_names[origin]));
}

/* The stored value's index, or -1 where there is no row or none that we understand. */
static int stored_index(const json_t *stored, enum toggle toggle)
{
    const char *value = json_string_value(json_object_get(stored, toggle_definitions[toggle].name));
    if (!value)
        return -1;
    int index = toggle_value_index(toggle, value);
    if (index < 0)
        stored_value_warn("the database has an unknown value for a toggle", "toggle",
                          toggle_definitions[toggle].name, value,
                          toggle_definitions[toggle].choices);
    return index;
}

void toggles_apply(struct toggles *toggles, const json_t *stored)
{
    int index[TOGGLES];
    int former[TOGGLES];
    enum value_origin origin[TOGGLES];
    const char *name;
    json_t *value;
    assert(json_is_object(stored));
    json_object_foreach ((json_t *)(uintptr_t)stored, name, value) {
        if (toggle_by_name(name) == TOGGLES)
            stored_value_warn("the database has an unknown toggle", "toggle", name,
                              json_is_string(value) ? json_string_value(value) : "", NULL);
    }
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++) {
        index[toggle] = stored_index(stored, toggle);
        origin[toggle] = index[toggle] >= 0 ? VALUE_FROM_DATABASE : toggles->start_origin[toggle];
        if (index[toggle] < 0)
            index[toggle] = toggles->start_index[toggle];
        assert(index[toggle] >= 0);
    }
    /* All at once: no request may see a combination that nobody asked for. */
    CHECK_PTHREAD(pthread_mutex_lock(&toggles->lock));
    memcpy(former, toggles->index, sizeof former);
    memcpy(toggles->index, index, sizeof index);
    memcpy(toggles->origin, origin, sizeof origin);
    CHECK_PTHREAD(pthread_mutex_unlock(&toggles->lock));
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++)
        if (former[toggle] != index[toggle])
            log_change(toggle, former[toggle], index[toggle], origin[toggle]);
}

static json_t *choices_array(enum toggle toggle)
{
    json_t *array = json_array();
    const char *at = toggle_definitions[toggle].choices;
    while (*at) {
        size_t length = strcspn(at, "|");
        json_array_append_new(array, json_stringn(at, length));
        at += length + (at[length] == '|');
    }
    return array;
}

json_t *toggles_describe(struct toggles *toggles)
{
    json_t *array = json_array();
    CHECK_PTHREAD(pthread_mutex_lock(&toggles->lock));
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++)
        json_array_append_new(
            array, json_pack("{s:s, s:s, s:s, s:o}", "name", toggle_definitions[toggle].name,
                             "value", toggle_value_name(toggle, toggles->index[toggle]), "origin",
                             value_origin_names[toggles->origin[toggle]], "choices",
                             choices_array(toggle)));
    CHECK_PTHREAD(pthread_mutex_unlock(&toggles->lock));
    return array;
}

bool toggles_check(const json_t *changes, char *message, size_t size)
{
    const char *name;
    json_t *value;
    if (!json_is_object(changes)) {
        snprintf(message, size,
                 "the body must be a JSON object of toggles, such as {\"map\":\"unsafe\"}");
        return false;
    }
    json_object_foreach ((json_t *)(uintptr_t)changes, name, value) {
        enum toggle toggle = toggle_by_name(name);
        if (toggle == TOGGLES) {
            snprintf(message, size, "unknown toggle '%.40s'", name);
            return false;
        }
        if (!json_is_string(value)) {
            snprintf(message, size, "toggle '%s' must be a string: one of %s", name,
                     toggle_definitions[toggle].choices);
            return false;
        }
        if (toggle_value_index(toggle, json_string_value(value)) < 0) {
            snprintf(message, size, "toggle '%s' cannot be '%.40s': it is one of %s", name,
                     json_string_value(value), toggle_definitions[toggle].choices);
            return false;
        }
    }
    return true;
}
