/*
 * What changes the lab under a drill: a version, or the load.
 */
#include "common/check.h"
#include "drill/engine/drill.h"

bool drill_deploy(struct engine *engine, struct drill *drill, struct version version)
{
    if (drill->version_count == DRILL_VERSIONS) {
        snprintf(engine->lab.why, sizeof engine->lab.why, "no more versions in one drill");
        json_decref(version.toggles);
        return false;
    }
    engine_unlock(engine);
    bool ok = version.toggles && lab_set(&engine->lab, "toggles", version.toggles);
    engine_lock(engine);
    if (!ok) {
        json_decref(version.toggles);
        return false;
    }
    drill->version = drill->version_count;
    drill->versions[drill->version_count++] = version;
    drill_note(drill, "lab", "deployment", version.summary,
               json_pack("{s:i}", "version", (int)version.number), false);
    return true;
}

bool drill_change_load(struct engine *engine, struct drill *drill, json_t *change)
{
    engine_unlock(engine);
    bool ok = lab_change_load(&engine->lab, change);
    engine_lock(engine);
    /* a burst passes, and the rate after it is the house's */
    if (ok && !json_object_get(change, "stages"))
        json_object_update(drill->load, change);
    json_decref(change);
    return ok;
}
