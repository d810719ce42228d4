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
        json_object_update(entry, fields);
    json_decref(fields);
    if (entry && sealed)
        json_object_set_new(entry, "sealed", json_true());
    bool by_person = strcmp(who, "people") == 0;
    if (entry && drill->record && !record_append(drill->record, kind, json_copy(entry), by_person))
        snprintf(drill->trouble, sizeof drill->trouble, "the record cannot be written: %s",
                 record_trouble(drill->record));
    json_array_append_new(drill->timeline, entry);
}

void drill_end_sessions(struct drill *drill)
{
    for (unsigned i = 0; i < DRILL_SESSIONS; i++) {
        session_end(drill->sessions[i]);
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
    for (int i = 0; i < CLAIM_ASKED; i++)
        drill->claims[i] = CLAIMS;
    return drill;
}

void drill_free(struct drill *drill)
{
    if (!drill)
        return;
    drill_end_sessions(drill);
    for (unsigned i = 0; i < drill->version_count; i++)
        json_decref(drill->versions[i].toggles);
    json_decref(drill->timeline);
    json_decref(drill->load);
    json_decref(drill->snapshot);
    record_close(drill->record);
    free(drill->rows);
    free(drill);
}
