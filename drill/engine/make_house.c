#include "drill/engine/make_house.h"

#include "common/check.h"
#include "drill/engine/database.h"

json_t *house_toggles(const struct house *house)
{
    json_t *toggles = json_object();
    for (int i = 0; i < house->toggle_count; i++)
        json_object_set_new(toggles, house->toggles[i].name, json_string(house->toggles[i].value));
    return toggles;
}

static json_t *house_settings(const struct house *house)
{
    json_t *settings = json_object();
    for (int i = 0; i < house->setting_count; i++)
        json_object_set_new(settings, house->settings[i].name,
                            json_integer((json_int_t)house->settings[i].value));
    return settings;
}

static bool set_role_limit(struct lab *lab, double limit)
{
    char text[24];
    snprintf(text, sizeof text, "%.0f", limit);
    return database_call(lab->config.conninfo, "SELECT drill.set_connection_limit($1::integer)",
                         (const char *[]){text}, 1, lab->why);
}

static bool set_house(struct engine *engine, bool *needs_restart)
{
    const struct house *house = drill_house(engine->drill);
    struct lab *lab = &engine->lab;
    json_t *toggles = house_toggles(house);
    json_t *settings = house_settings(house);
    bool ok = database_call(lab->config.conninfo, "SELECT drill.reset()", NULL, 0, lab->why) &&
              set_role_limit(lab, house->role_limit) && lab_set(lab, "toggles", toggles) &&
              lab_set(lab, "settings", settings) && lab_needs_restart(lab, needs_restart);
    json_decref(toggles);
    json_decref(settings);
    return ok;
}

/* Everything as it is at the start of every drill. Tried again until it works; one restart at most.
 */
bool house_make(struct engine *engine, bool *restarted)
{
    struct lab *lab = &engine->lab;
    bool needs = false;
    if (!*restarted && !set_house(engine, &needs))
        return false;
    /* what the last drill leaked goes with the process */
    struct lab_look look;
    lab_look(lab, &look);
    if (!*restarted && (needs || look.leaked > 0))
        *restarted = lab_restart(lab);
    return lab_is_ready(lab) && lab_needs_restart(lab, &needs) && !needs;
}
