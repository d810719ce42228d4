/*
 * The settings: options whose values the database may hold. A stored value beats the option at the
 * next start. Toggles change at once; settings change with a restart, as a deployment does.
 */
#ifndef FLASHOVER_SERVICE_TOGGLES_SETTINGS_H
#define FLASHOVER_SERVICE_TOGGLES_SETTINGS_H

#include "service/toggles/stored_value.h"

#include <jansson.h>

#include <pthread.h>
#include <stdbool.h>

/* SETTING_pool_size, SETTING_pool_min, … */
#define SETTING(KIND, name, field, fallback, min, max, argument, help) SETTING_##field,
enum setting {
#include "service/toggles/settings.tbl.h"
    SETTINGS
};

struct setting_definition {
    const char *name;
    bool is_real; /* else an integer */
    double min, max;
};

extern const struct setting_definition setting_definitions[SETTINGS];

/* Lock key: (i) immutable, (m) under `lock`. */
struct settings {
    pthread_mutex_t lock;
    double option[SETTINGS];                   /* (i) the value that the options gave */
    enum value_origin option_origin[SETTINGS]; /* (i) */
    double value[SETTINGS];                    /* (i) in force until this process ends */
    enum value_origin origin[SETTINGS];        /* (i) */
    double next[SETTINGS];                     /* (m) in force after a restart, as last read */
};

/* Puts the database's rows (an object of name: value as text) in force, and the options where there
 * is none. NULL: the database could not be asked. Logs rows that name no known setting or value in
 * range, which it passes over, and a pool-min beyond pool-size, which it lowers. */
void settings_init(struct settings *settings, const double option[SETTINGS],
                   const enum value_origin origin[SETTINGS], const json_t *stored);

/* Takes a later reading of the rows: they are in force after a restart. */
void settings_note(struct settings *settings, const json_t *stored);

/* Whether a restart would change a value. */
bool settings_need_restart(struct settings *settings);

/* An array of {"name":…,"value":…,"origin":…,"next":…,"min":…,"max":…}. The caller owns it. */
json_t *settings_describe(struct settings *settings);

/* Whether `changes` is an object of known settings, each with a number in its range or with null,
 * which removes the stored value; else *message says what is wrong with which. `settings`: those
 * that the changes come on top of; NULL: not known, and only the changes are compared with each
 * other. */
bool settings_check(const json_t *changes, struct settings *settings, char *message, size_t size);

#endif
