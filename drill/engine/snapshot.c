#include "drill/engine/snapshot.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/json.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>

/* ---- writing ----------------------------------------------------------------------------------
 */

/* Names the machine's life: its monotonic clock begins anew with it. */
static void read_boot_id(char id[64])
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    id[0] = '\0';
    if (file && !fgets(id, 64, file))
        id[0] = '\0';
    if (file)
        fclose(file);
    id[strcspn(id, "\n")] = '\0';
}

static json_t *pack_versions(const struct drill *drill)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < drill->version_count; i++) {
        const struct version *version = &drill->versions[i];
        json_array_append_new(list,
                              json_pack("{s:i, s:s, s:f, s:O, s:b, s:b}", "number",
                                        (int)version->number, "summary", version->summary, "at_s",
                                        version->at_s, "toggles", version->toggles, "guilty",
                                        version->is_guilty, "repaired", version->is_repaired));
    }
    return list;
}

static json_t *pack_changes(const struct drill *drill)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < drill->change_count; i++) {
        const struct made_change *change = &drill->changes[i];
        const struct expectation *expectation = &change->expectation;
        json_array_append_new(
            list, json_pack("{s:s, s:i, s:i, s:b, s:f, s:f, s:o, s:s, s:[i, b, f, f, o, b]}",
                            "change", change_definitions[change->change].key, "argument",
                            (int)change->argument, "state", (int)change->state, "applied",
                            change->applied, "decided_s", change->decided_s, "due_s", change->due_s,
                            "done_s", json_real_or_null(change->done_s), "why", change->why,
                            "expect", expectation->figure, expectation->falls, expectation->to,
                            expectation->within_s, json_real_or_null(expectation->outcome),
                            expectation->met));
    }
    return list;
}

static json_t *pack_times(const struct drill *drill)
{
    json_t *times = json_array();
    for (int i = 0; i < DRILL_TIMES; i++)
        json_array_append_new(times, json_real_or_null(drill->t_s[i]));
    return times;
}

static json_t *pack_claims(const struct drill *drill)
{
    json_t *claims = json_array();
    for (int i = 0; i < CLAIM_ASKED; i++)
        json_array_append_new(claims, json_integer(drill->claim_counts[i]));
    for (int i = 0; i < SCENARIO_HINTS; i++)
        json_array_append_new(claims, json_boolean(drill->hints[i]));
    return claims;
}

static json_t *pack(const struct drill *drill)
{
    char boot_id[64];
    read_boot_id(boot_id);
    json_t *all =
        json_pack("{s:s, s:s, s:I, s:i, s:s, s:I, s:i, s:o, s:f, s:f}", "drill", drill->id,
                  "scenario", drill->scenario->name, "seed", (json_int_t)drill->plan.seed, "level",
                  (int)drill->level, "boot_id", boot_id, "began_ns", (json_int_t)drill->began_ns,
                  "drill_state", (int)drill->state, "load", json_deep_copy(drill->load),
                  "share_percent", drill->share_percent, "role_limit", drill->role_limit);
    json_t *more =
        json_pack("{s:s, s:i, s:o, s:i, s:i, s:o, s:i, s:b, s:o, s:o}", "run", drill->run_id,
                  "first_row", (int)drill->first_row, "versions", pack_versions(drill), "version",
                  (int)drill->version, "next_deployment", (int)drill->next_deployment, "changes",
                  pack_changes(drill), "deployment", drill->deployment, "restarting",
                  drill->restarting, "times", pack_times(drill), "claims", pack_claims(drill));
    json_t *rest = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:b, s:b}", "trigger_shadow_until_s",
        drill->trigger_shadow_until_s, "deployment_shadow_until_s",
        drill->deployment_shadow_until_s, "restarted_s", drill->restarted_s, "before_unix_s",
        drill->before_unix_s, "started_unix_s", drill->started_unix_s, "lead_times",
        drill->lead_times, "healthy_s", drill->healthy_s, "next_trigger_s", drill->next_trigger_s,
        "trigger_at_s", drill->trigger_at_s, "triggers", (int)drill->triggers, "load_repaired",
        drill->load_repaired, "database_repaired", drill->database_repaired);
    if (all && more && rest) {
        json_object_update(all, more);
        json_object_update(all, rest);
    }
    json_decref(more);
    json_decref(rest);
    return all;
}

void snapshot_write(struct drill *drill)
{
    json_t *now = pack(drill);
    if (!now || (drill->snapshot && json_equal(now, drill->snapshot))) {
        json_decref(now);
        return;
    }
    if (!record_append(drill->record, "snapshot", json_copy(now), true)) {
        snprintf(drill->trouble, sizeof drill->trouble, "the record cannot be written: %s",
                 record_trouble(drill->record));
        json_decref(now);
        return;
    }
    json_decref(drill->snapshot);
    drill->snapshot = now;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

struct found {
    struct drill *drill;
    json_t *snapshot; /* the last one */
    bool ended;
};

static bool take_line(void *context, const json_t *line)
{
    struct found *found = context;
    struct drill *drill = found->drill;
    const char *kind = json_string_value(json_object_get(line, "kind"));
    if (!kind)
        return true;
    if (strcmp(kind, "row") == 0) {
        json_int_t second = json_integer_value(json_object_get(line, "second"));
        if (second >= 0 && second < ACCOUNT_SECONDS_MAX &&
            account_row_read(&drill->rows[second], line)) {
            drill->row_count = (unsigned)second + 1;
            drill->recorded = drill->row_count;
        }
    } else if (strcmp(kind, "snapshot") == 0) {
        json_decref(found->snapshot);
        found->snapshot = json_deep_copy(line);
    } else {
        json_array_append_new(drill->timeline, json_deep_copy(line));
        found->ended |= strcmp(kind, "end") == 0;
    }
    return true;
}

static double real_at(const json_t *from, const char *key)
{
    const json_t *number = json_object_get(from, key);
    return json_is_number(number) ? json_number_value(number) : (double)NAN;
}

static int whole_at(const json_t *from, const char *key)
{
    return (int)json_integer_value(json_object_get(from, key));
}

/* A summary is a constant of the program, or the scenario's: the plan has it again. */
static const char *find_summary(const struct drill *drill, const json_t *version)
{
    int number = whole_at(version, "number");
    const char *text = json_string_value(json_object_get(version, "summary"));
    for (int i = 0; i < PLAN_DEPLOYMENTS; i++)
        if ((int)drill->plan.deployments[i].version == number)
            return drill->plan.deployments[i].summary;
    for (int i = 0; text && i < CHANGES; i++)
        if (strcmp(change_definitions[i].words, text) == 0)
            return change_definitions[i].words;
    return "The version of last week";
}

static void read_versions(struct drill *drill, const json_t *list)
{
    size_t i;
    json_t *entry;
    json_array_foreach (list, i, entry) {
        if (drill->version_count == DRILL_VERSIONS)
            return;
        drill->versions[drill->version_count++] =
            (struct version){.number = (unsigned)whole_at(entry, "number"),
                             .summary = find_summary(drill, entry),
                             .at_s = real_at(entry, "at_s"),
                             .toggles = json_incref(json_object_get(entry, "toggles")),
                             .is_guilty = json_is_true(json_object_get(entry, "guilty")),
                             .is_repaired = json_is_true(json_object_get(entry, "repaired"))};
    }
}

static void read_changes(struct drill *drill, const json_t *list)
{
    size_t i;
    json_t *entry;
    json_array_foreach (list, i, entry) {
        const char *key = json_string_value(json_object_get(entry, "change"));
        const char *why = json_string_value(json_object_get(entry, "why"));
        const json_t *expect = json_object_get(entry, "expect");
        const json_t *outcome = json_array_get(expect, 4);
        struct made_change change = {.change = key ? change_by_key(key) : CHANGES};
        if (drill->change_count == DRILL_CHANGES || change.change == CHANGES)
            return;
        change.argument = (unsigned)whole_at(entry, "argument");
        change.state = (enum change_state)whole_at(entry, "state");
        change.applied = json_is_true(json_object_get(entry, "applied"));
        change.decided_s = real_at(entry, "decided_s");
        change.due_s = real_at(entry, "due_s");
        change.done_s = real_at(entry, "done_s");
        snprintf(change.why, sizeof change.why, "%s", why ? why : "");
        change.expectation = (struct expectation){
            .figure = (int)json_integer_value(json_array_get(expect, 0)),
            .falls = json_is_true(json_array_get(expect, 1)),
            .to = json_number_value(json_array_get(expect, 2)),
            .within_s = json_number_value(json_array_get(expect, 3)),
            .outcome = json_is_number(outcome) ? json_number_value(outcome) : (double)NAN,
            .met = json_is_true(json_array_get(expect, 5))};
        drill->changes[drill->change_count++] = change;
    }
}

static void read_lists(struct drill *drill, const json_t *snapshot)
{
    const json_t *times = json_object_get(snapshot, "times");
    const json_t *claims = json_object_get(snapshot, "claims");
    for (size_t i = 0; i < DRILL_TIMES; i++) {
        const json_t *time = json_array_get(times, i);
        drill->t_s[i] = json_is_number(time) ? json_number_value(time) : (double)NAN;
    }
    for (size_t i = 0; i < CLAIM_ASKED; i++)
        drill->claim_counts[i] = (unsigned)json_integer_value(json_array_get(claims, i));
    for (size_t i = 0; i < SCENARIO_HINTS; i++)
        drill->hints[i] = json_is_true(json_array_get(claims, CLAIM_ASKED + i));
}

/* False: the snapshot is of another catalogue, or of another life of the machine. */
static bool read_snapshot(struct engine *engine, struct drill *drill, const json_t *snapshot)
{
    char boot_id[64];
    const char *id = json_string_value(json_object_get(snapshot, "drill"));
    const char *name = json_string_value(json_object_get(snapshot, "scenario"));
    const char *booted = json_string_value(json_object_get(snapshot, "boot_id"));
    const char *run = json_string_value(json_object_get(snapshot, "run"));
    read_boot_id(boot_id);
    drill->scenario = name ? catalogue_find(engine->config.catalogue, name) : NULL;
    if (!id || !drill->scenario || !booted || strcmp(booted, boot_id) != 0)
        return false;
    snprintf(drill->id, sizeof drill->id, "%s", id);
    drill->level = (unsigned)whole_at(snapshot, "level");
    drill->plan = plan_make(drill_house(drill), drill->scenario,
                            (uint64_t)json_integer_value(json_object_get(snapshot, "seed")),
                            engine->config.pace, real_at(snapshot, "healthy_s"));
    drill->lead_times = real_at(snapshot, "lead_times");
    drill->healthy_s = real_at(snapshot, "healthy_s");
    drill->state = (enum drill_state)whole_at(snapshot, "drill_state");
    drill->began_ns = json_integer_value(json_object_get(snapshot, "began_ns"));
    json_decref(drill->load);
    drill->load = json_incref(json_object_get(snapshot, "load"));
    drill->share_percent = real_at(snapshot, "share_percent");
    drill->role_limit = real_at(snapshot, "role_limit");
    drill->first_row = (unsigned)whole_at(snapshot, "first_row");
    snprintf(drill->run_id, sizeof drill->run_id, "%s", run ? run : "");
    snprintf(engine->lab.run_id, sizeof engine->lab.run_id, "%s", drill->run_id);
    read_versions(drill, json_object_get(snapshot, "versions"));
    read_changes(drill, json_object_get(snapshot, "changes"));
    read_lists(drill, snapshot);
    drill->version = (unsigned)whole_at(snapshot, "version");
    drill->next_deployment = (unsigned)whole_at(snapshot, "next_deployment");
    drill->deployment = whole_at(snapshot, "deployment");
    drill->restarting = json_is_true(json_object_get(snapshot, "restarting"));
    drill->next_trigger_s = real_at(snapshot, "next_trigger_s");
    drill->trigger_at_s = real_at(snapshot, "trigger_at_s");
    drill->triggers = (unsigned)whole_at(snapshot, "triggers");
    drill->load_repaired = json_is_true(json_object_get(snapshot, "load_repaired"));
    drill->database_repaired = json_is_true(json_object_get(snapshot, "database_repaired"));
    drill->trigger_shadow_until_s = real_at(snapshot, "trigger_shadow_until_s");
    drill->deployment_shadow_until_s = real_at(snapshot, "deployment_shadow_until_s");
    drill->restarted_s = real_at(snapshot, "restarted_s");
    engine->lab.before_unix_s = drill->before_unix_s = real_at(snapshot, "before_unix_s");
    engine->lab.started_unix_s = drill->started_unix_s = real_at(snapshot, "started_unix_s");
    drill->last_turn_s = drill_now_s(drill); /* steps are not taken twice */
    return drill->version < drill->version_count && drill->state != DRILL_OVER;
}

static int is_folder(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* The newest by name, which begins with its time. False: there is none. */
static bool find_newest(const char *drills_dir, char folder[PATH_MAX])
{
    struct dirent **names;
    int count = scandir(drills_dir, &names, is_folder, alphasort);
    if (count > 0)
        snprintf(folder, PATH_MAX, "%s/%s", drills_dir, names[count - 1]->d_name);
    for (int i = 0; i < count; i++)
        free(names[i]);
    if (count >= 0)
        free(names);
    return count > 0;
}

struct drill *snapshot_restore(struct engine *engine, char *why, size_t why_size)
{
    char folder[PATH_MAX];
    struct found found = {.drill = drill_new()};
    why[0] = '\0';
    if (!found.drill || !find_newest(engine->config.drills_dir, folder) ||
        record_read(folder, take_line, &found) < 0 || found.ended || !found.snapshot) {
        json_decref(found.snapshot);
        drill_free(found.drill);
        return NULL;
    }
    struct drill *drill = found.drill;
    bool ok = read_snapshot(engine, drill, found.snapshot);
    if (!ok)
        snprintf(why, why_size,
                 "%.200s cannot go on: its scenario or the machine's clock is not there any more",
                 folder);
    if (ok)
        drill->record = record_open(folder, why, why_size);
    json_decref(found.snapshot);
    if (drill->record)
        return drill;
    drill_free(drill);
    return NULL;
}
