#include "drill/engine/drill.h"

#include "common/check.h"
#include "common/clock.h"

#include <math.h>

void engine_unlock(struct engine *engine)
{
    CHECK_PTHREAD(pthread_mutex_unlock(&engine->lock));
}

void engine_lock(struct engine *engine)
{
    CHECK_PTHREAD(pthread_mutex_lock(&engine->lock));
}

double drill_now_s(const struct drill *drill)
{
    return (double)(clock_now_ns() - drill->began_ns) / CLOCK_NS_PER_S;
}

void drill_note(struct drill *drill, const char *who, const char *kind, const char *text,
                json_t *fields, bool sealed)
{
    double at_s = drill->began_ns > 0 ? drill_now_s(drill) : 0;
    json_t *entry =
        json_pack("{s:f, s:s, s:s, s:s}", "at_s", at_s, "who", who, "what", kind, "text", text);
    if (fields)
        json_object_update_missing(entry, fields);
    json_decref(fields);
    if (entry && sealed)
        json_object_set_new(entry, "sealed", json_true());
    bool by_person = strcmp(who, "people") == 0;
    if (entry && drill->record && !record_append(drill->record, kind, json_copy(entry), by_person))
        snprintf(drill->trouble, sizeof drill->trouble, "the record cannot be written: %s",
                 record_trouble(drill->record));
    json_array_append_new(drill->timeline, entry);
}

void drill_start_session(struct drill *drill, const char *conninfo, const struct step *step)
{
    for (unsigned i = 0; i < DRILL_SESSIONS; i++) {
        if (drill->sessions[i])
            continue;
        drill->sessions[i] = session_start(conninfo, step);
        if (drill->sessions[i])
            return;
    }
    drill_note(drill, "drill", "trouble", "a session of the database could not be started", NULL,
               true);
}

void drill_end_sessions(struct drill *drill, const char *role)
{
    for (unsigned i = 0; i < DRILL_SESSIONS; i++) {
        struct session *session = drill->sessions[i];
        if (!session || (role && strcmp(session_role(session), role) != 0))
            continue;
        session_end(session);
        drill->sessions[i] = NULL;
    }
}

struct drill *drill_new(void)
{
    struct drill *drill = calloc(1, sizeof *drill);
    struct account_row *rows = calloc(ACCOUNT_SECONDS_MAX, sizeof *rows);
    if (!drill || !rows) {
        free(drill);
        free(rows);
        return NULL;
    }
    drill->rows = rows;
    drill->deployment = -1;
    drill->share_percent = 100;
    drill->timeline = json_array();
    drill->load = json_object();
    for (int i = 0; i < DRILL_TIMES; i++)
        drill->t_s[i] = NAN;
    return drill;
}

void drill_free(struct drill *drill)
{
    if (!drill)
        return;
    drill_end_sessions(drill, NULL);
    for (unsigned i = 0; i < drill->version_count; i++)
        json_decref(drill->versions[i].toggles);
    json_decref(drill->timeline);
    json_decref(drill->load);
    json_decref(drill->snapshot);
    record_close(drill->record);
    free(drill->rows);
    free(drill);
}
