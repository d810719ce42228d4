#include "service/variants/variants.h"

#include "common/check.h"

static const struct query_ops *const queries[] = {&query_batched, &query_per_item,
                                                  &query_bounded, &query_pipelined,
                                                  &query_nested,  &query_connect_per_item};
static const struct map_ops *const maps[] = {&map_mutex, &map_unsafe, &map_unchecked, &map_slots};
static const struct release_ops *const releases[] = {&release_always, &release_on_success};
static const struct admission_ops *const admissions[] = {&admission_deadline, &admission_blind};
static const struct fatal_ops *const fatals[] = {&fatal_abort, &fatal_exit_thread};
static const struct deadline_ops *const deadlines[] = {&deadline_propagated, &deadline_ignored};
static const struct cancel_ops *const cancels[] = {&cancel_siblings, &cancel_never};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

const struct toggle_definition toggle_definitions[TOGGLES] = {
    [TOGGLE_QUERY] = {"query", "batched|per_item|bounded|pipelined|nested|connect_per_item"},
    [TOGGLE_MAP] = {"map", "mutex|unsafe|unchecked|slots"},
    [TOGGLE_RELEASE] = {"release", "always|on_success"},
    [TOGGLE_ADMISSION] = {"admission", "deadline|blind"},
    [TOGGLE_FATAL] = {"fatal", "abort|exit_thread"},
    [TOGGLE_DEADLINE] = {"deadline", "propagated|ignored"},
    [TOGGLE_CANCEL] = {"cancel", "siblings|never"},
};

enum toggle toggle_by_name(const char *name)
{
    enum toggle toggle = 0;
    while (toggle < TOGGLES && strcmp(toggle_definitions[toggle].name, name) != 0)
        toggle++;
    return toggle;
}

static const char *name_at(enum toggle toggle, int index)
{
    switch (toggle) {
    case TOGGLE_QUERY:
        return index < COUNT(queries) ? queries[index]->name : NULL;
    case TOGGLE_MAP:
        return index < COUNT(maps) ? maps[index]->name : NULL;
    case TOGGLE_RELEASE:
        return index < COUNT(releases) ? releases[index]->name : NULL;
    case TOGGLE_ADMISSION:
        return index < COUNT(admissions) ? admissions[index]->name : NULL;
    case TOGGLE_FATAL:
        return index < COUNT(fatals) ? fatals[index]->name : NULL;
    case TOGGLE_DEADLINE:
        return index < COUNT(deadlines) ? deadlines[index]->name : NULL;
    case TOGGLE_CANCEL:
        return index < COUNT(cancels) ? cancels[index]->name : NULL;
    case TOGGLES:
        break;
    }
    return NULL;
}

int toggle_value_index(enum toggle toggle, const char *value)
{
    const char *name;
    for (int index = 0; (name = name_at(toggle, index)); index++)
        if (strcmp(name, value) == 0)
            return index;
    return -1;
}

const char *toggle_value_name(enum toggle toggle, int index)
{
    const char *name = name_at(toggle, index);
    assert(name);
    return name;
}

struct variant_set variants_select(const int value_index[TOGGLES])
{
    return (struct variant_set){.query = queries[value_index[TOGGLE_QUERY]],
                                .map = maps[value_index[TOGGLE_MAP]],
                                .release = releases[value_index[TOGGLE_RELEASE]],
                                .admission = admissions[value_index[TOGGLE_ADMISSION]],
                                .fatal = fatals[value_index[TOGGLE_FATAL]],
                                .deadline = deadlines[value_index[TOGGLE_DEADLINE]],
                                .cancel = cancels[value_index[TOGGLE_CANCEL]]};
}
