#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/random.h"
#include "drill/engine/changes.h"
#include "drill/engine/database.h"
#include "drill/engine/make_house.h"
#include "drill/engine/snapshot.h"
#include "drill/engine/steps.h"

#include <limits.h>
#include <math.h>

#define TURN_NS    (250 * CLOCK_NS_PER_MS)
#define PREPARE_NS (60 * CLOCK_NS_PER_S)
#define LOAD_MAX_S 14400
#define END_S      60 /* before the load itself ends */
/* A load that was started anew begins with the next second. */
#define RELOAD_NS (2 * CLOCK_NS_PER_S)

/* ---- the start ------------------------------------------------------------------------------ */

static void wait_turn(struct engine *engine, int64_t turn_ns)
{
    const struct timespec until = clock_timespec(clock_now_ns() + turn_ns);
    (void)pthread_cond_timedwait(&engine->wake, &engine->lock, &until);
}

static bool is_over(const struct engine *engine)
{
    return engine->stopping || engine->drill->state == DRILL_OVER;
}

/* Until the load runs, or the drill was ended, or a minute has passed. */
static bool prepare(struct engine *engine, struct drill *drill)
{
    int64_t until_ns = clock_now_ns() + PREPARE_NS;
    bool restarted = false;
    bool ok = false;
    while (!ok && !is_over(engine) && clock_now_ns() < until_ns) {
        engine_unlock(engine);
        ok = house_make(engine, &restarted) &&
             lab_start_load(&engine->lab, drill_house(drill), LOAD_MAX_S);
        engine_lock(engine);
        snprintf(drill->trouble, sizeof drill->trouble, "%s", ok ? "" : engine->lab.why);
        if (!ok)
            wait_turn(engine, TURN_NS);
    }
    if (!ok || is_over(engine)) /* it may have been stopped meanwhile */
        return false;
    drill->began_ns = clock_now_ns();
    drill->state = DRILL_HEALTHY;
    snprintf(drill->run_id, sizeof drill->run_id, "%s", engine->lab.run_id);
    drill_note(drill, "lab", "load", "the load begins",
               json_pack("{s:s}", "run", engine->lab.run_id), false);
    return true;
}

/* ---- second by second ----------------------------------------------------------------------- */

/* What the lost load had not finished is not known. */
static void forget_unfinished(struct drill *drill)
{
    for (unsigned i = drill->recorded; i < ACCOUNT_SECONDS_MAX && i <= drill->row_count; i++)
        if (!drill->rows[i].final)
            account_row_forget(&drill->rows[i]);
}

/* A load tester that died and came back has no run of ours: the load begins anew, and the seconds
 * between are a gap. */
static void load_again(struct engine *engine, struct drill *drill, double now_s)
{
    struct lab *lab = &engine->lab;
    if (clock_now_ns() < engine->reload_at_ns || !lab->run_is_gone)
        return;
    engine->reload_at_ns = clock_now_ns() + RELOAD_NS;
    engine_unlock(engine);
    bool ok = lab_start_load(lab, drill_house(drill), LOAD_MAX_S - now_s);
    engine_lock(engine);
    if (!ok)
        return;
    forget_unfinished(drill);
    drill->first_row = (unsigned)drill_now_s(drill);
    drill->load_pending = json_object_size(drill->load) > 0;
    snprintf(drill->run_id, sizeof drill->run_id, "%s", lab->run_id);
    drill_note(drill, "lab", "gap", "the load tester was away; the load begins anew",
               json_pack("{s:s}", "run", lab->run_id), false);
}

static void mark_row(struct drill *drill, unsigned second)
{
    struct account_row *row = &drill->rows[second];
    const struct version *version = &drill->versions[drill->version];
    const struct scenario_drill *scenario = &drill->scenario->drill;
    row->share_percent = drill->share_percent;
    row->trigger_shadow = second < drill->trigger_shadow_until_s;
    row->deployment_shadow = drill->restarting || second < drill->deployment_shadow_until_s;
    row->trigger_began = drill->trigger_began;
    row->defect_covered =
        scenario->toggle_count > 0
            ? version->is_guilty
            : version->is_repaired || drill->load_repaired || drill->database_repaired;
    drill->trigger_began = false;
}

/* Rows that change no more go to the record. A gap is one after some seconds. */
static void record_rows(struct drill *drill)
{
    while (drill->recorded < drill->row_count) {
        struct account_row *row = &drill->rows[drill->recorded];
        bool is_gap = !row->known && drill->recorded + 10 < drill->row_count;
        if (!row->final && !is_gap)
            return;
        row->final = true;
        json_t *fields = account_row_json(row);
        if (fields)
            json_object_set_new(fields, "second", json_integer(drill->recorded));
        if (!record_append(drill->record, "row", fields, false)) {
            snprintf(drill->trouble, sizeof drill->trouble, "the record cannot be written: %s",
                     record_trouble(drill->record));
            return;
        }
        drill->recorded++;
    }
}

/* The load that was begun anew is the house's until it has been changed as the lost one was. */
static void change_load_again(struct engine *engine, struct drill *drill)
{
    if (!drill->load_pending)
        return;
    json_t *change = json_deep_copy(drill->load);
    engine_unlock(engine);
    bool ok = change && lab_change_load(&engine->lab, change);
    engine_lock(engine);
    json_decref(change);
    drill->load_pending = !ok;
}

/* Takes in what load tester and service say at the end of each second. */
static void take_second(struct engine *engine, struct drill *drill, unsigned second)
{
    struct lab_look look;
    for (; drill->row_count <= second; drill->row_count++)
        mark_row(drill, drill->row_count);
    engine_unlock(engine);
    lab_look(&engine->lab, &look);
    json_t *answer = lab_fetch_rows(&engine->lab);
    engine_lock(engine);
    bool fetched = answer && lab_take_rows(&engine->lab, answer, drill->rows, drill->first_row);
    json_decref(answer);
    if (!fetched)
        load_again(engine, drill, second + 1);
    change_load_again(engine, drill);
    struct account_row *row = &drill->rows[second];
    row->up = look.up;
    row->crashes = look.crashes;
    row->pool_used = look.pool_used;
    row->pool_max = look.pool_max;
    row->waiting = look.waiting;
    row->leaked = look.leaked;
    if (look.crashes > 0)
        drill_note(drill, "lab", "crash", "another process of the service answers", NULL, false);
    record_rows(drill);
}

static void set_time(struct drill *drill, enum drill_time time, double at_s, const char *kind,
                     const char *text, bool sealed)
{
    drill->t_s[time] = at_s;
    drill_note(drill, "drill", kind, text, json_pack("{s:f}", "t_s", at_s), sealed);
}

static void look_for_page(struct engine *engine, struct drill *drill)
{
    drill->alert = alert_look(drill->rows, drill->row_count, engine->config.pace, false);
    if (!drill->alert.fires || !isnan(drill->t_s[DRILL_T1]) || drill->state != DRILL_BURNING)
        return;
    set_time(drill, DRILL_T1, drill_now_s(drill), "page",
             drill->alert.by_probe             ? "a probe got a wrong answer"
             : drill->alert.sli == SLI_ANSWERS ? "requests fail: the error budget burns"
                                               : "answers are late: the error budget burns",
             false);
}

/* The second after the first change that acted, from which on a recovery can begin. -1: none. */
static int first_change_second(const struct drill *drill)
{
    double first_s = LOAD_MAX_S;
    for (unsigned i = 0; i < drill->change_count; i++)
        if (drill->changes[i].state == CHANGE_DONE &&
            change_definitions[drill->changes[i].change].kind != CHANGE_IS_EVIDENCE)
            first_s = fmin(first_s, drill->changes[i].done_s);
    return first_s < LOAD_MAX_S ? (int)ceil(first_s) : -1;
}

static void look_for_recovery(struct engine *engine, struct drill *drill)
{
    int from = first_change_second(drill);
    const struct recovery_rules rules = {.pace = engine->config.pace,
                                         .recurs = drill->scenario->drill.trigger_count > 0};
    if (from < 0 || drill->state != DRILL_BURNING)
        return;
    struct recovery found =
        recovery_mitigated(drill->rows, drill->row_count, (unsigned)from, &rules);
    if (isnan(drill->t_s[DRILL_T3]) && found.reason == RECOVERY_HOLDS)
        set_time(drill, DRILL_T3, found.at, "mitigated", "the users have been well since then",
                 false);
    found = recovery_repaired(drill->rows, drill->row_count, (unsigned)from, &rules);
    if (isnan(drill->t_s[DRILL_T3]) && found.reason == RECOVERY_HOLDS)
        set_time(drill, DRILL_T3, found.at, "mitigated", "the users have been well since then",
                 false);
    if (isnan(drill->t_s[DRILL_T4]) && found.reason == RECOVERY_HOLDS)
        set_time(drill, DRILL_T4, found.at, "repaired", "the cause has been gone since then", true);
}

static void end_drill(struct drill *drill, const char *why)
{
    if (drill->state == DRILL_OVER)
        return;
    drill->t_s[DRILL_END] = drill->began_ns > 0 ? drill_now_s(drill) : 0;
    drill->state = DRILL_OVER;
    drill_note(drill, "drill", "end", why, NULL, false);
}

static void look_for_end(struct engine *engine, struct drill *drill, double now_s)
{
    double limit_s = drill_house(drill)->limit_s * engine->config.pace;
    double paged_s = isnan(drill->t_s[DRILL_T1]) ? drill->plan.fault_s : drill->t_s[DRILL_T1];
    if (!isnan(drill->t_s[DRILL_T4]))
        end_drill(drill, "repaired");
    else if (now_s > paged_s + limit_s || now_s >= LOAD_MAX_S - END_S)
        end_drill(drill, "the time is over");
}

static void turn(struct engine *engine, struct drill *drill)
{
    double now_s = drill_now_s(drill);
    drill->trouble[0] = '\0';
    if (now_s >= LOAD_MAX_S - END_S) { /* also after a long absence */
        look_for_end(engine, drill, now_s);
        return;
    }
    drill_run_plan(engine, drill, now_s);
    drill_run_changes(engine, drill, now_s);
    unsigned second = (unsigned)now_s;
    if (second > drill->row_count) {
        take_second(engine, drill, second - 1);
        look_for_page(engine, drill);
        look_for_recovery(engine, drill);
        drill_judge_expectations(drill, now_s);
    }
    look_for_end(engine, drill, now_s);
    drill->before_unix_s = engine->lab.before_unix_s;
    drill->started_unix_s = engine->lab.started_unix_s;
    snapshot_write(drill);
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void clear_lab(struct engine *engine, struct drill *drill)
{
    engine_unlock(engine);
    drill_end_sessions(drill, NULL);
    lab_stop_load(&engine->lab);
    if (!database_call(engine->config.lab.conninfo, "SELECT drill.reset()", NULL, 0,
                       engine->lab.why))
        log_line(LOG_WARN, "the database is not as it was before the drill",
                 json_pack("{s:s}", "error", engine->lab.why));
    engine_lock(engine);
}

static void run_drill(struct engine *engine, struct drill *drill)
{
    engine->busy = true;
    bool goes_on = drill->began_ns > 0; /* after the end of its program */
    if (goes_on) {
        drill_note(drill, "drill", "gap", "the drill program was away", NULL, false);
        drill_resume_sessions(engine, drill);
    }
    if (!goes_on && !prepare(engine, drill))
        end_drill(drill, "the lab could not be made ready");
    while (!is_over(engine)) {
        turn(engine, drill);
        if (!is_over(engine))
            wait_turn(engine, TURN_NS);
    }
    end_drill(drill, "the drill program was stopped");
    clear_lab(engine, drill);
    engine->busy = false;
}

static void *engine_main(void *argument)
{
    struct engine *engine = argument;
    engine_lock(engine);
    while (!engine->stopping) {
        if (engine->drill && engine->drill->state != DRILL_OVER)
            run_drill(engine, engine->drill);
        else
            wait_turn(engine, CLOCK_NS_PER_S);
    }
    engine_unlock(engine);
    return NULL;
}

static void restore(struct engine *engine)
{
    char why[LAB_WHY_SIZE];
    engine->drill = snapshot_restore(engine, why, sizeof why);
    if (engine->drill)
        log_line(LOG_WARN, "a drill that was under way goes on",
                 json_pack("{s:s}", "drill", engine->drill->id));
    else if (why[0])
        log_line(LOG_WARN, why, NULL);
}

struct engine *engine_open(const struct engine_config *config, char *why, size_t why_size)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine) {
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    engine->config = *config;
    CHECK_PTHREAD(pthread_mutex_init(&engine->lock, NULL));
    clock_cond_init(&engine->wake);
    bool ok = lab_open(&engine->lab, &config->lab);
    if (!ok)
        snprintf(why, why_size, "%s", engine->lab.why);
    if (ok)
        restore(engine);
    if (ok && pthread_create(&engine->thread, NULL, engine_main, engine) == 0)
        return engine;
    if (ok)
        snprintf(why, why_size, "the engine's thread cannot start");
    lab_close(&engine->lab);
    free(engine);
    return NULL;
}

void engine_close(struct engine *engine, bool all_done)
{
    engine_lock(engine);
    engine->stopping = true;
    CHECK_PTHREAD(pthread_cond_signal(&engine->wake));
    engine_unlock(engine);
    CHECK_PTHREAD(pthread_join(engine->thread, NULL));
    if (!all_done)
        return;
    drill_free(engine->drill);
    lab_close(&engine->lab);
    free(engine);
}

/* ---- from outside -----------------------------------------------------------------------------
 */

static struct drill *begin_drill(struct engine *engine, const struct scenario *scenario,
                                 const struct engine_request *request, char *why, size_t why_size)
{
    char folder[PATH_MAX];
    char at[CLOCK_UTC_SIZE];
    const struct house *house = &scenario->drill.house;
    struct drill *drill = drill_new();
    if (!drill) {
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    clock_format_utc(at);
    snprintf(drill->id, sizeof drill->id, "%.10s-%.2s%.2s%.2s-%.3s", at, at + 11, at + 14, at + 17,
             at + 20);
    drill->scenario = scenario;
    drill->level = request->level;
    drill->lead_times = request->lead_times;
    drill->healthy_s = request->healthy_s;
    drill->plan =
        plan_make(house, scenario, request->seed, engine->config.pace, request->healthy_s);
    drill->role_limit = house->role_limit;
    drill->versions[drill->version_count++] =
        (struct version){.number = drill->plan.version,
                         .summary = "The version of last week",
                         .toggles = house_toggles(house)};
    snprintf(folder, sizeof folder, "%s/%s", engine->config.drills_dir, drill->id);
    drill->record = record_open(folder, why, why_size);
    if (drill->record)
        return drill;
    drill_free(drill);
    return NULL;
}

/* Puts a new drill in the place of the last one. */
static bool replace_drill(struct engine *engine, const struct scenario *scenario,
                          const struct engine_request *request, char *why, size_t why_size)
{
    struct drill *drill = begin_drill(engine, scenario, request, why, why_size);
    if (!drill)
        return false;
    drill_free(engine->drill);
    engine->drill = drill;
    drill_note(drill, "drill", "start", "a drill begins",
               json_pack("{s:s, s:s, s:I, s:i, s:f}", "drill", drill->id, "scenario",
                         scenario->name, "seed", (json_int_t)request->seed, "level",
                         (int)request->level, "pace", engine->config.pace),
               true);
    CHECK_PTHREAD(pthread_cond_signal(&engine->wake));
    return true;
}

/* One with a house of its own would be known by it. */
static const struct scenario *draw(const struct catalogue *catalogue, uint64_t seed)
{
    const struct scenario *drawable[CATALOGUE_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < catalogue->count; i++)
        if (!catalogue->scenarios[i]->drill.has_house)
            drawable[count++] = catalogue->scenarios[i];
    return count > 0 ? drawable[random_mix(seed) % count] : NULL;
}

enum engine_answer engine_start(struct engine *engine, const struct engine_request *request,
                                char *why, size_t why_size)
{
    const struct catalogue *catalogue = engine->config.catalogue;
    const struct scenario *scenario =
        request->name ? catalogue_find(catalogue, request->name) : draw(catalogue, request->seed);
    if (!scenario) {
        snprintf(why, why_size, "there is no drill '%.60s'", request->name ? request->name : "");
        return ENGINE_MISTAKE;
    }
    engine_lock(engine);
    enum engine_answer answer = ENGINE_DONE;
    if (engine->drill && (engine->drill->state != DRILL_OVER || engine->busy)) {
        snprintf(why, why_size, "drill %s is under way, and there is one at a time",
                 engine->drill->id);
        answer = ENGINE_NOT_NOW;
    } else if (!replace_drill(engine, scenario, request, why, why_size)) {
        answer = ENGINE_NOT_NOW;
    }
    engine_unlock(engine);
    return answer;
}

enum engine_answer engine_stop(struct engine *engine, const char *by, char *why, size_t why_size)
{
    enum engine_answer answer = ENGINE_DONE;
    engine_lock(engine);
    if (!engine->drill || engine->drill->state == DRILL_OVER) {
        snprintf(why, why_size, "no drill is under way");
        answer = ENGINE_NOT_NOW;
    } else {
        end_drill(engine->drill, by);
        CHECK_PTHREAD(pthread_cond_signal(&engine->wake));
    }
    engine_unlock(engine);
    return answer;
}
