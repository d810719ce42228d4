/*
 * What people enter, and what they and the facilitator see.
 */
#include "common/check.h"
#include "common/json.h"
#include "drill/engine/changes.h"
#include "drill/engine/snapshot.h"

#include <math.h>
#include <stdarg.h>

#define TEXT_MAX_BYTES 2000
#define EXPECT_MAX_S   600

static const char *const state_names[] = {"preparing", "healthy", "burning", "over"};
static const char *const time_names[] = {"t0", "t1", "t2", "t3", "t4", "end"};
static const char *const asked_names[] = {"latent", "trigger", "sustains"};
static const char *const kind_names[] = {"evidence", "session", "load", "deployment"};
static const char *const made_names[] = {"under way", "done", "failed"};

__attribute__((format(printf, 4, 5))) static enum engine_answer
refuse(char *why, size_t why_size, enum engine_answer answer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, why_size, format, arguments);
    va_end(arguments);
    return answer;
}

/* Whether something can be entered now; else that is said. */
static enum engine_answer check_time(const struct drill *drill, bool after_page, char *why,
                                     size_t why_size)
{
    if (!drill || drill->state == DRILL_PREPARING || drill->state == DRILL_OVER)
        return refuse(why, why_size, ENGINE_NOT_NOW, "no drill is under way");
    if (after_page && isnan(drill->t_s[DRILL_T1]))
        return refuse(why, why_size, ENGINE_NOT_NOW, "not before the page");
    return ENGINE_DONE;
}

/* From the decision until a change comes into force. */
static double lead_s(const struct engine *engine, const struct drill *drill, enum change change)
{
    return change_definitions[change].lead_s * engine->config.pace * drill->lead_times;
}

/* ---- entries -------------------------------------------------------------------------------- */

static const char *const entry_kinds[] = {"acknowledge", "impact",   "observed", "believed", "done",
                                          "said",        "handover", "repaired", NULL};

static bool is_entry_kind(const char *kind)
{
    for (size_t i = 0; kind && entry_kinds[i]; i++)
        if (strcmp(entry_kinds[i], kind) == 0)
            return true;
    return false;
}

/* What the load says of the claim that all is repaired. */
static void answer_repaired(struct engine *engine, struct drill *drill)
{
    static const char *const words[] = {
        [RECOVERY_HOLDS] = "the load agrees",
        [RECOVERY_TOO_SHORT] = "nothing is wrong so far; it has not been long enough",
        [RECOVERY_NO_TRIGGER] = "nothing is wrong so far; what set it off has not come again",
        [RECOVERY_GAP] = "the load tester has a gap",
        [RECOVERY_BAD] = "requests failed",
        [RECOVERY_SLOW] = "answers were late",
        [RECOVERY_LOAD] = "a part of the load is still shed",
        [RECOVERY_CRASH] = "the service crashed",
        [RECOVERY_LEAK] = "connections are held by nobody",
        [RECOVERY_OLDER] = "an older version is in force: the defect is still in the newer one"};
    const struct recovery_rules rules = {.pace = engine->config.pace,
                                         .recurs = drill->scenario->drill.trigger_count > 0};
    unsigned from = isnan(drill->t_s[DRILL_T1]) ? 0 : (unsigned)drill->t_s[DRILL_T1];
    struct recovery found = recovery_repaired(drill->rows, drill->row_count, from, &rules);
    uint32_t bad = found.at < drill->row_count ? account_row_bad(&drill->rows[found.at]) : 0;
    bool none_guilty = drill->scenario->drill.toggle_count == 0;
    drill_note(drill, "drill", "answer",
               found.reason == RECOVERY_OLDER && none_guilty
                   ? "nothing that keeps it from coming again is in force"
                   : words[found.reason],
               json_pack("{s:i, s:i}", "second", (int)found.at, "bad", (int)bad), false);
}

/* Members that are the record's own are not people's to say. */
static void forget_own(json_t *fields)
{
    static const char *const own[] = {"kind", "text", "at",   "at_s",  "mono_s",
                                      "t_s",  "who",  "what", "sealed"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        json_object_del(fields, own[i]);
}

enum engine_answer engine_entry(struct engine *engine, const json_t *body, char *why,
                                size_t why_size)
{
    const char *kind = json_string_value(json_object_get(body, "kind"));
    const char *text = json_string_value(json_object_get(body, "text"));
    if (!is_entry_kind(kind))
        return refuse(why, why_size, ENGINE_MISTAKE,
                      "kind must be acknowledge, impact, observed, believed, done, said, handover "
                      "or repaired");
    if (!text || strlen(text) > TEXT_MAX_BYTES)
        return refuse(why, why_size, ENGINE_MISTAKE, "text must be a text of at most %d bytes",
                      TEXT_MAX_BYTES);
    bool acknowledges = strcmp(kind, "acknowledge") == 0;
    bool is_repaired = strcmp(kind, "repaired") == 0;
    engine_lock(engine);
    struct drill *drill = engine->drill;
    enum engine_answer answer = check_time(drill, acknowledges || is_repaired, why, why_size);
    if (answer == ENGINE_DONE && acknowledges && !isnan(drill->t_s[DRILL_T2]))
        answer = refuse(why, why_size, ENGINE_NOT_NOW, "the page is acknowledged already");
    if (answer == ENGINE_DONE) {
        json_t *fields = json_copy((json_t *)(uintptr_t)body);
        forget_own(fields);
        drill_note(drill, "people", kind, text, fields, false);
        if (acknowledges)
            drill->t_s[DRILL_T2] = drill_now_s(drill);
        if (is_repaired)
            answer_repaired(engine, drill);
        snapshot_write(drill);
        if (drill->trouble[0] && record_trouble(drill->record)[0])
            answer = refuse(why, why_size, ENGINE_NOT_NOW, "it is not in the record: %s",
                            record_trouble(drill->record));
    }
    engine_unlock(engine);
    return answer;
}

/* ---- changes -------------------------------------------------------------------------------- */

static enum engine_answer read_expectation(const json_t *body, struct expectation *expectation,
                                           char *why, size_t why_size)
{
    const json_t *expect = json_object_get(body, "expect");
    const char *figure = json_string_value(json_object_get(expect, "figure"));
    const char *direction = json_string_value(json_object_get(expect, "direction"));
    const json_t *to = json_object_get(expect, "to");
    const json_t *within = json_object_get(expect, "within_s");
    if (!json_is_object(expect))
        return refuse(why, why_size, ENGINE_MISTAKE,
                      "expect is missing: figure, direction, to, within_s");
    expectation->figure = 0;
    while (figure && expectation_figures[expectation->figure] &&
           strcmp(expectation_figures[expectation->figure], figure) != 0)
        expectation->figure++;
    if (!figure || !expectation_figures[expectation->figure])
        return refuse(why, why_size, ENGINE_MISTAKE,
                      "expect.figure must be bad_percent, slow_percent, attempts_per_request, "
                      "pool_used, waiting or crashes");
    expectation->falls = direction && strcmp(direction, "falls") == 0;
    if (!expectation->falls && (!direction || strcmp(direction, "rises") != 0))
        return refuse(why, why_size, ENGINE_MISTAKE, "expect.direction must be falls or rises");
    if (!json_is_number(to) || !json_is_number(within) || json_number_value(within) < 1 ||
        json_number_value(within) > EXPECT_MAX_S)
        return refuse(why, why_size, ENGINE_MISTAKE,
                      "expect.to must be a number, and expect.within_s one in the range 1..%d",
                      EXPECT_MAX_S);
    expectation->to = json_number_value(to);
    expectation->within_s = json_number_value(within);
    expectation->outcome = NAN;
    return ENGINE_DONE;
}

static bool has_version(const struct drill *drill, unsigned number)
{
    for (unsigned i = 0; i < drill->version_count; i++)
        if (drill->versions[i].number == number && i != drill->version)
            return true;
    return false;
}

static enum engine_answer check_change(const struct drill *drill, const struct made_change *change,
                                       char *why, size_t why_size)
{
    bool is_deployment = change_definitions[change->change].kind == CHANGE_IS_DEPLOYMENT;
    enum engine_answer answer = check_time(drill, is_deployment, why, why_size);
    if (answer != ENGINE_DONE)
        return answer;
    if (is_deployment && drill->deployment >= 0)
        return refuse(why, why_size, ENGINE_NOT_NOW,
                      "%s is under way, and there is one deployment at a time",
                      change_definitions[drill->changes[drill->deployment].change].key);
    if (change_definitions[change->change].kind == CHANGE_IS_SESSION && change->argument == 0)
        return refuse(why, why_size, ENGINE_MISTAKE, "argument must be a session of the database");
    if (change->change == CHANGE_ROLLBACK && !has_version(drill, change->argument))
        return refuse(why, why_size, ENGINE_MISTAKE,
                      "argument must be a version that was in force before: %u is none",
                      change->argument);
    if (drill->change_count == DRILL_CHANGES)
        return refuse(why, why_size, ENGINE_NOT_NOW, "no more changes in one drill");
    return ENGINE_DONE;
}

static void begin_change(struct engine *engine, struct drill *drill, struct made_change change)
{
    const struct change_definition *definition = &change_definitions[change.change];
    change.decided_s = drill_now_s(drill);
    change.due_s = change.decided_s + lead_s(engine, drill, change.change);
    change.done_s = NAN;
    if (definition->kind == CHANGE_IS_DEPLOYMENT)
        drill->deployment = (int)drill->change_count;
    drill->changes[drill->change_count++] = change;
    drill_note(drill, "people", "decided", definition->words,
               json_pack("{s:s, s:i, s:f}", "change", definition->key, "argument",
                         (int)change.argument, "due_s", change.due_s),
               false);
    snapshot_write(drill);
}

enum engine_answer engine_change(struct engine *engine, const json_t *body, char *why,
                                 size_t why_size)
{
    const char *key = json_string_value(json_object_get(body, "change"));
    struct made_change change = {.change = key ? change_by_key(key) : CHANGES};
    if (change.change == CHANGES)
        return refuse(why, why_size, ENGINE_MISTAKE, "there is no change '%.60s'", key ? key : "");
    json_int_t argument = json_integer_value(json_object_get(body, "argument"));
    change.argument = argument > 0 && argument < INT32_MAX ? (unsigned)argument : 0;
    change.expectation.outcome = NAN;
    enum engine_answer answer = ENGINE_DONE;
    if (change_definitions[change.change].kind != CHANGE_IS_EVIDENCE)
        answer = read_expectation(body, &change.expectation, why, why_size);
    if (answer != ENGINE_DONE)
        return answer;
    engine_lock(engine);
    answer = check_change(engine->drill, &change, why, why_size);
    if (answer == ENGINE_DONE)
        begin_change(engine, engine->drill, change);
    engine_unlock(engine);
    return answer;
}

/* ---- claims and hints -------------------------------------------------------------------------
 */

enum engine_answer engine_claim(struct engine *engine, const json_t *body, char *why,
                                size_t why_size)
{
    const char *key = json_string_value(json_object_get(body, "claim"));
    enum claim claim = key ? claim_by_key(key) : CLAIMS;
    if (claim == CLAIMS)
        return refuse(why, why_size, ENGINE_MISTAKE, "there is no claim '%.60s'", key ? key : "");
    enum claim_asked asked = claim_definitions[claim].asked;
    engine_lock(engine);
    struct drill *drill = engine->drill;
    enum engine_answer answer = check_time(drill, true, why, why_size);
    if (answer == ENGINE_DONE && drill->claim_counts[asked] == 2)
        answer = refuse(why, why_size, ENGINE_NOT_NOW, "two claims were made already");
    if (answer == ENGINE_DONE) {
        drill->claim_counts[asked]++;
        drill_note(drill, "people", "claim", claim_definitions[claim].words,
                   json_pack("{s:s, s:s}", "asked", asked_names[asked], "claim", key), false);
        snapshot_write(drill);
    }
    engine_unlock(engine);
    return answer;
}

enum engine_answer engine_hint(struct engine *engine, const json_t *body, char *why,
                               size_t why_size)
{
    const json_t *number = json_object_get(body, "hint");
    json_int_t hint = json_is_integer(number) ? json_integer_value(number) : 0;
    if (hint < 1 || hint > SCENARIO_HINTS)
        return refuse(why, why_size, ENGINE_MISTAKE, "there is no such hint: they are 1..%d",
                      SCENARIO_HINTS);
    engine_lock(engine);
    struct drill *drill = engine->drill;
    enum engine_answer answer = check_time(drill, true, why, why_size);
    if (answer == ENGINE_DONE && !drill->hints[hint - 1]) {
        drill->hints[hint - 1] = true;
        drill_note(drill, "people", "hint", drill->scenario->drill.hints[hint - 1],
                   json_pack("{s:I}", "hint", hint), false);
        snapshot_write(drill);
    }
    engine_unlock(engine);
    return answer;
}

/* ---- views ------------------------------------------------------------------------------------
 */

static json_t *view_versions(const struct drill *drill, bool truth)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < drill->version_count; i++) {
        const struct version *version = &drill->versions[i];
        json_t *entry =
            json_pack("{s:i, s:s, s:f, s:b}", "version", (int)version->number, "summary",
                      version->summary, "at_s", version->at_s, "in_force", i == drill->version);
        if (truth) {
            json_object_set(entry, "toggles", version->toggles);
            json_object_set_new(entry, "guilty", json_boolean(version->is_guilty));
        }
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *view_offered(const struct engine *engine, const struct drill *drill, bool truth)
{
    json_t *list = json_array();
    for (enum change change = 0; change < CHANGES; change++) {
        const struct change_definition *definition = &change_definitions[change];
        json_t *entry = json_pack("{s:s, s:s, s:s, s:f}", "change", definition->key, "kind",
                                  kind_names[definition->kind], "words", definition->words,
                                  "lead_s", lead_s(engine, drill, change));
        if (truth)
            json_object_set_new(
                entry, "effect",
                json_string(change_effect_names[drill->scenario->drill.effects[change]]));
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *view_made(const struct drill *drill)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < drill->change_count; i++) {
        const struct made_change *change = &drill->changes[i];
        const struct expectation *expectation = &change->expectation;
        json_t *entry =
            json_pack("{s:s, s:s, s:f, s:f, s:o}", "change", change_definitions[change->change].key,
                      "state", made_names[change->state], "decided_s", change->decided_s, "due_s",
                      change->due_s, "done_s", json_real_or_null(change->done_s));
        if (change_definitions[change->change].kind != CHANGE_IS_EVIDENCE)
            json_object_set_new(entry, "expect",
                                json_pack("{s:s, s:s, s:f, s:f, s:o, s:o}", "figure",
                                          expectation_figures[expectation->figure], "direction",
                                          expectation->falls ? "falls" : "rises", "to",
                                          expectation->to, "within_s", expectation->within_s,
                                          "outcome", json_real_or_null(expectation->outcome), "met",
                                          isnan(expectation->outcome)
                                              ? json_null()
                                              : json_boolean(expectation->met)));
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *view_timeline(const struct drill *drill, bool truth)
{
    json_t *list = json_array();
    size_t i;
    json_t *entry;
    json_array_foreach (drill->timeline, i, entry) {
        if (truth || !json_object_get(entry, "sealed"))
            json_array_append(list, entry);
    }
    return list;
}

static json_t *view_alert(const struct alert *alert)
{
    json_t *rates = json_array();
    for (int rule = 0; rule < ALERT_RULES; rule++)
        json_array_append_new(rates, json_pack("{s:f, s:[f,f], s:[f,f]}", "limit",
                                               alert_rules[rule].burn_rate, "answers",
                                               alert->burn_rates[SLI_ANSWERS][rule][0],
                                               alert->burn_rates[SLI_ANSWERS][rule][1], "latency",
                                               alert->burn_rates[SLI_LATENCY][rule][0],
                                               alert->burn_rates[SLI_LATENCY][rule][1]));
    return json_pack("{s:b, s:b, s:o}", "fires", alert->fires, "silent", alert->silent,
                     "burn_rates", rates);
}

/* T0 and T4 are the truth's. */
static json_t *view_times(const struct drill *drill, bool truth)
{
    json_t *times = json_object();
    for (int time = 0; time < DRILL_TIMES; time++)
        if (truth || (time != DRILL_T0 && time != DRILL_T4))
            json_object_set_new(times, time_names[time], json_real_or_null(drill->t_s[time]));
    return times;
}

static json_t *view_claims(void)
{
    json_t *list = json_array();
    for (enum claim claim = 0; claim < CLAIMS; claim++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s}", "claim", claim_definitions[claim].key,
                                        "asked", asked_names[claim_definitions[claim].asked],
                                        "words", claim_definitions[claim].words));
    return list;
}

static void add_truth(const struct drill *drill, json_t *view)
{
    const struct scenario_drill *scenario = &drill->scenario->drill;
    json_t *claims = json_object();
    for (int asked = 0; asked < CLAIM_ASKED; asked++)
        json_object_set_new(claims, asked_names[asked],
                            json_string(claim_definitions[scenario->claims[asked]].key));
    json_object_set_new(view, "scenario", json_string(drill->scenario->name));
    json_object_set_new(view, "title", json_string(drill->scenario->title));
    json_object_set_new(view, "cause", json_string(drill->scenario->cause));
    json_object_set_new(view, "seed", json_integer((json_int_t)drill->plan.seed));
    json_object_set_new(view, "fault_s", json_real(drill->plan.fault_s));
    json_object_set_new(view, "right_claims", claims);
}

/* What the lab says itself may name what people are not to know; a record that cannot be written is
 * for all to know. */
static const char *view_trouble(const struct drill *drill, bool truth)
{
    bool of_record = drill->record && record_trouble(drill->record)[0];
    return truth || of_record || !drill->trouble[0] ? drill->trouble : "the lab does not answer";
}

/* When all is over, the truth is for all. */
json_t *engine_view(struct engine *engine, bool truth)
{
    engine_lock(engine);
    const struct drill *drill = engine->drill;
    json_t *view = NULL;
    if (!drill) {
        view = json_pack("{s:s}", "state", "none");
    } else {
        truth = truth || drill->state == DRILL_OVER;
        double now_s = drill->state == DRILL_OVER ? drill->t_s[DRILL_END]
                       : drill->began_ns > 0      ? drill_now_s(drill)
                                                  : 0;
        /* the people's second phase has no name of its own: that would tell when it begins */
        bool shown_healthy = !truth && drill->state == DRILL_BURNING && isnan(drill->t_s[DRILL_T1]);
        view = json_pack(
            "{s:s, s:s, s:i, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:s}", "drill",
            drill->id, "state", state_names[shown_healthy ? DRILL_HEALTHY : drill->state], "level",
            (int)drill->level, "pace", drill->plan.pace, "now_s", now_s, "times",
            view_times(drill, truth), "alert", view_alert(&drill->alert), "versions",
            view_versions(drill, truth), "offered", view_offered(engine, drill, truth), "made",
            view_made(drill), "timeline", view_timeline(drill, truth), "claims", view_claims(),
            "share_percent", drill->share_percent, "trouble", view_trouble(drill, truth));
        if (view && truth)
            add_truth(drill, view);
        if (view)
            json_object_set_new(view, "busy", json_boolean(engine->busy));
    }
    engine_unlock(engine);
    return view;
}

/* What the lab's people may know of a second: not what the drill itself did in it. */
static void hide_drill(json_t *row)
{
    static const char *const hidden[] = {"trigger_began", "trigger_shadow", "defect_covered"};
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
        json_object_del(row, hidden[i]);
}

json_t *engine_rows(struct engine *engine, unsigned from)
{
    json_t *list = json_array();
    engine_lock(engine);
    const struct drill *drill = engine->drill;
    for (unsigned i = from; drill && i < drill->row_count; i++) {
        json_t *row = account_row_json(&drill->rows[i]);
        hide_drill(row);
        json_array_append_new(list, row);
    }
    engine_unlock(engine);
    return json_pack("{s:i, s:o}", "from", (int)from, "rows", list);
}

const struct scenario *engine_record(struct engine *engine, char *folder, size_t size)
{
    const struct scenario *scenario = NULL;
    engine_lock(engine);
    if (engine->drill) {
        scenario = engine->drill->scenario;
        snprintf(folder, size, "%s/%s", engine->config.drills_dir, engine->drill->id);
    }
    engine_unlock(engine);
    return scenario;
}
