/*
 * What people change: one deployment at a time, everything else beside it. Each change comes into
 * force after its lead time.
 */
#include "drill/engine/changes.h"
#include "common/check.h"
#include "drill/engine/database.h"

#include <math.h>

/* What a deployment does is no fault of the new version until so long after it is ready. */
#define READY_SHADOW_S 2
/* A figure is the mean of so many seconds. */
#define FIGURE_S             5
#define IDLE_TIMEOUT_MS      "500"
#define CLIENT_CHECK_MS      "500"
#define RETRY_BUDGET_PERCENT 10
/* So long a change is tried again. */
#define PATIENCE_S 60
/* So long a restart may take until it counts as done, ready or not. */
#define RESTART_PATIENCE_S 20

#define MIGRATOR "migrator"
/* Gives up after a moment, lets the queue go, and tries again. */
static const struct step patient_migration = {
    .kind = STEP_SQL,
    .role = MIGRATOR,
    .statements = {"SET lock_timeout = '50ms'",
                   "DO $$ BEGIN FOR attempt IN 1..100 LOOP BEGIN "
                   "ALTER TABLE video ALTER COLUMN likes SET DEFAULT 0; EXIT; "
                   "EXCEPTION WHEN lock_not_available THEN PERFORM pg_sleep(2); END; END LOOP; "
                   "END $$"},
    .statement_count = 2};

const char *const expectation_figures[] = {
    "bad_percent", "slow_percent", "attempts_per_request", "pool_used", "waiting", "crashes", NULL};

/* Of the seconds before `second`. */
static double mean_figure(const struct drill *drill, int figure, unsigned second)
{
    double sum = 0;
    double of = 0;
    unsigned from = second > FIGURE_S ? second - FIGURE_S : 0;
    for (unsigned i = from; i < second && i < drill->row_count; i++) {
        const struct account_row *row = &drill->rows[i];
        const double values[EXPECTATION_FIGURES][2] = {
            {100.0 * row->bad_ended, row->right_ended + row->bad_ended},
            {100.0 * row->slow_ended, row->right_ended},
            {row->attempts, row->due},
            {row->pool_used, 1},
            {row->waiting, 1},
            {row->crashes, 1.0 / FIGURE_S}};
        sum += values[figure][0];
        of += values[figure][1];
    }
    return of > 0 ? sum / of : 0;
}

void drill_judge_expectations(struct drill *drill, double now_s)
{
    for (unsigned i = 0; i < drill->change_count; i++) {
        struct made_change *change = &drill->changes[i];
        struct expectation *expectation = &change->expectation;
        if (change->state != CHANGE_DONE || !isnan(expectation->outcome) ||
            change_definitions[change->change].kind == CHANGE_IS_EVIDENCE ||
            now_s < change->done_s + expectation->within_s)
            continue;
        expectation->outcome = mean_figure(drill, expectation->figure,
                                           (unsigned)(change->done_s + expectation->within_s));
        expectation->met = expectation->falls ? expectation->outcome <= expectation->to
                                              : expectation->outcome >= expectation->to;
        drill_note(drill, "drill", "outcome",
                   expectation->met ? "a change came out as expected"
                                    : "a change did not come out as expected",
                   json_pack("{s:s, s:f, s:f, s:b}", "change",
                             change_definitions[change->change].key, "expected", expectation->to,
                             "outcome", expectation->outcome, "met", expectation->met),
                   false);
    }
}

/* A copy of the present version's toggles with another value of one; NULL without memory. */
static json_t *toggles_with(const struct drill *drill, const char *name, const char *value)
{
    json_t *toggles = json_copy(drill->versions[drill->version].toggles);
    if (toggles)
        json_object_set_new(toggles, name, json_string(value));
    return toggles;
}

static unsigned next_number(const struct drill *drill)
{
    return drill->versions[drill->version_count - 1].number + 1;
}

/* A toggle's value that a code change brings. NULL: the change is none. */
static const char *code_toggle(enum change change, const char **value)
{
    static const struct {
        enum change change;
        const char *name, *value;
    } codes[] = {{CHANGE_CODE_LOCK, "map", "mutex"},
                 {CHANGE_CODE_SLOTS, "map", "slots"},
                 {CHANGE_CODE_ONE_QUERY, "query", "batched"},
                 {CHANGE_CODE_PIPELINED, "query", "pipelined"},
                 {CHANGE_CODE_AT_MOST_8, "query", "bounded"},
                 {CHANGE_CODE_GIVE_BACK, "release", "always"},
                 {CHANGE_CODE_PASS_DEADLINE, "deadline", "propagated"},
                 {CHANGE_CODE_CALL_OFF, "cancel", "siblings"}};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].change == change) {
            *value = codes[i].value;
            return codes[i].name;
        }
    }
    return NULL;
}

static bool deploy_code(struct engine *engine, struct drill *drill, enum change change)
{
    const char *value = "";
    const char *name = code_toggle(change, &value);
    const struct version *present = &drill->versions[drill->version];
    assert(name);
    struct version version = {.number = next_number(drill),
                              .summary = change_definitions[change].words,
                              .at_s = drill_now_s(drill),
                              .toggles = toggles_with(drill, name, value),
                              .is_guilty = present->is_guilty,
                              .is_repaired =
                                  present->is_repaired ||
                                  drill->scenario->drill.effects[change] == EFFECT_REPAIRS};
    return drill_deploy(engine, drill, version);
}

static bool deploy_older(struct engine *engine, struct drill *drill, unsigned number)
{
    unsigned i = 0;
    while (i < drill->version_count && drill->versions[i].number != number)
        i++;
    assert(i < drill->version_count); /* the change was checked when it was made */
    engine_unlock(engine);
    bool ok = lab_set(&engine->lab, "toggles", drill->versions[i].toggles);
    engine_lock(engine);
    if (!ok)
        return false;
    drill->version = i;
    drill_note(drill, "lab", "deployment", "rolled back",
               json_pack("{s:i}", "version", (int)number), false);
    return true;
}

static bool multiply_setting(struct engine *engine, const struct drill *drill, const char *name,
                             double times)
{
    double value = house_setting(drill_house(drill), name) * times;
    json_t *settings = json_pack("{s:I}", name, (json_int_t)value);
    engine_unlock(engine);
    bool ok = settings && lab_set(&engine->lab, "settings", settings);
    engine_lock(engine);
    json_decref(settings);
    return ok;
}

/* A function of the database with one or two arguments. */
static bool call(struct engine *engine, const char *sql, const char *first, const char *second)
{
    const char *const arguments[] = {first, second};
    engine_unlock(engine);
    bool ok =
        database_call(engine->config.lab.conninfo, sql, arguments, second ? 2 : 1, engine->lab.why);
    engine_lock(engine);
    return ok;
}

static bool set_timeout(struct engine *engine, const char *name, const char *milliseconds)
{
    return call(engine, "SELECT drill.set_timeout($1, $2::integer)", name, milliseconds);
}

/* The time-out holds for later sessions; those that are idle now are ended by hand. */
static bool end_idle(struct engine *engine)
{
    engine_unlock(engine);
    bool ok = database_call(engine->config.lab.conninfo, "SELECT drill.end_idle() IS NOT NULL",
                            NULL, 0, engine->lab.why);
    engine_lock(engine);
    return ok;
}

static bool double_role_limit(struct engine *engine, struct drill *drill)
{
    char limit[24];
    snprintf(limit, sizeof limit, "%.0f", 2 * drill->role_limit);
    if (!call(engine, "SELECT drill.set_connection_limit($1::integer)", limit, NULL))
        return false;
    drill->role_limit *= 2;
    return true;
}

static bool signal_session(struct engine *engine, const struct made_change *change)
{
    char pid[24];
    snprintf(pid, sizeof pid, "%u", change->argument);
    return call(engine,
                change->change == CHANGE_END_SESSION ? "SELECT drill.end_session($1::integer)"
                                                     : "SELECT drill.cancel_query($1::integer)",
                pid, NULL);
}

static bool set_share(struct engine *engine, struct drill *drill, double percent)
{
    if (!drill_change_load(engine, drill, json_pack("{s:f}", "share", percent)))
        return false;
    drill->share_percent = percent;
    return true;
}

/* The sessions are the thread's own; to end one may take seconds. */
static void end_migration(struct engine *engine, struct drill *drill)
{
    engine_unlock(engine);
    drill_end_sessions(drill, MIGRATOR);
    engine_lock(engine);
}

/* Whether the service must be started again for it. */
static bool wants_restart(enum change change)
{
    switch (change) {
    case CHANGE_RESTART:
    case CHANGE_ROLLBACK:
    case CHANGE_POOL_X2:
    case CHANGE_POOL_X5:
    case CHANGE_POOL_X10:
    case CHANGE_DEADLINE_X2:
    case CHANGE_DEADLINE_X5:
    case CHANGE_CLIENT_CHECK: /* later sessions have it */
        return true;
    default:
        return code_toggle(change, &(const char *){NULL}) != NULL;
    }
}

static bool apply(struct engine *engine, struct drill *drill, const struct made_change *change)
{
    switch (change->change) {
    case CHANGE_KEEP_EVIDENCE:
    case CHANGE_RESTART:
        return true;
    case CHANGE_END_SESSION:
    case CHANGE_CANCEL_QUERY:
        return signal_session(engine, change);
    case CHANGE_LOAD_50:
        return set_share(engine, drill, 50);
    case CHANGE_LOAD_25:
        return set_share(engine, drill, 25);
    case CHANGE_LOAD_100:
        return set_share(engine, drill, 100);
    case CHANGE_RETRIES_OFF:
        return drill_change_load(engine, drill, json_pack("{s:i}", "retries", 0));
    case CHANGE_RETRY_BUDGET:
        return drill_change_load(engine, drill,
                                 json_pack("{s:i}", "retry-budget", RETRY_BUDGET_PERCENT));
    case CHANGE_POOL_X2:
        return multiply_setting(engine, drill, "pool-size", 2);
    case CHANGE_POOL_X5:
        return multiply_setting(engine, drill, "pool-size", 5);
    case CHANGE_POOL_X10:
        return multiply_setting(engine, drill, "pool-size", 10);
    case CHANGE_DEADLINE_X2:
        return multiply_setting(engine, drill, "request-timeout-ms", 2);
    case CHANGE_DEADLINE_X5:
        return multiply_setting(engine, drill, "request-timeout-ms", 5);
    case CHANGE_ROLE_LIMIT_X2:
        return double_role_limit(engine, drill);
    case CHANGE_IDLE_TIMEOUT:
        return set_timeout(engine, "idle_in_transaction_session_timeout", IDLE_TIMEOUT_MS) &&
               end_idle(engine);
    case CHANGE_CLIENT_CHECK:
        return set_timeout(engine, "client_connection_check_interval", CLIENT_CHECK_MS);
    case CHANGE_MIGRATION_BACK:
        end_migration(engine, drill);
        return true;
    case CHANGE_MIGRATION_AGAIN:
        end_migration(engine, drill);
        drill_start_session(drill, engine->config.lab.conninfo, &patient_migration);
        return true;
    case CHANGE_ROLLBACK:
        return deploy_older(engine, drill, change->argument);
    default:
        return deploy_code(engine, drill, change->change);
    }
}

static void note_repair(struct drill *drill, enum change change)
{
    if (drill->scenario->drill.effects[change] != EFFECT_REPAIRS)
        return;
    if (change_definitions[change].kind == CHANGE_IS_LOAD)
        drill->load_repaired = true;
    else if (!code_toggle(change, &(const char *){NULL}))
        drill->database_repaired = true;
}

static void finish(struct drill *drill, struct made_change *change, const char *why)
{
    if (drill->state == DRILL_OVER)
        return;
    change->state = why ? CHANGE_FAILED : CHANGE_DONE;
    change->done_s = drill_now_s(drill);
    if (why)
        snprintf(change->why, sizeof change->why, "%s", why);
    else
        note_repair(drill, change->change);
    drill_note(drill, "lab", "change",
               why ? "it could not be done" : change_definitions[change->change].words,
               json_pack("{s:s, s:s}", "change", change_definitions[change->change].key, "state",
                         why ? "failed" : "done"),
               false);
    if (why) /* it may name what people are not to know */
        drill_note(drill, "drill", "trouble", why, NULL, true);
}

static bool restart(struct engine *engine, struct drill *drill)
{
    engine_unlock(engine);
    bool ok = lab_restart(&engine->lab);
    engine_lock(engine);
    drill->restarting = ok;
    drill->restarted_s = drill_now_s(drill);
    return ok;
}

/* A service that is down, as one that crashes again and again, takes no change: it is tried again.
 */
static void carry_out(struct engine *engine, struct drill *drill, unsigned index)
{
    struct made_change *change = &drill->changes[index];
    bool restarts = wants_restart(change->change);
    if (!change->applied)
        change->applied = apply(engine, drill, change);
    bool ok = change->applied && (!restarts || restart(engine, drill));
    if (ok ? restarts : drill_now_s(drill) < change->due_s + PATIENCE_S)
        return;
    finish(drill, change, ok ? NULL : engine->lab.why);
    if (drill->deployment == (int)index)
        drill->deployment = -1;
}

/* A deployment is done when the service is ready again, or when another process answers and does
 * not become ready for a while, as behind a lock of the database. */
static void see_to_restart(struct engine *engine, struct drill *drill)
{
    engine_unlock(engine);
    bool ready = lab_is_ready(&engine->lab);
    engine_lock(engine);
    bool waits = drill_now_s(drill) < drill->restarted_s + RESTART_PATIENCE_S;
    if (drill->state == DRILL_OVER || (!ready && waits))
        return;
    drill->restarting = false;
    drill->deployment_shadow_until_s = drill_now_s(drill) + READY_SHADOW_S;
    if (drill->deployment >= 0)
        finish(drill, &drill->changes[drill->deployment], NULL);
    drill->deployment = -1;
}

/* Those that are no deployments first: they wait for none. */
void drill_run_changes(struct engine *engine, struct drill *drill, double now_s)
{
    for (unsigned i = 0; i < drill->change_count && drill->state != DRILL_OVER; i++) {
        const struct made_change *change = &drill->changes[i];
        if (change->state == CHANGE_UNDER_WAY && drill->deployment != (int)i &&
            now_s >= change->due_s)
            carry_out(engine, drill, i);
    }
    if (drill->restarting)
        see_to_restart(engine, drill);
    else if (drill->deployment >= 0 && drill->state != DRILL_OVER &&
             now_s >= drill->changes[drill->deployment].due_s)
        carry_out(engine, drill, (unsigned)drill->deployment);
}
