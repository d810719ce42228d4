/*
 * What happens by itself: the deployments of the healthy phase, T0, and the triggers.
 */
#include "drill/engine/steps.h"
#include "common/check.h"

#include <math.h>

/* A trigger's effect is not the service's fault until so long after its end. */
#define SHADOW_S 3

static void end_finished_sessions(struct drill *drill)
{
    char error[160];
    for (unsigned i = 0; i < DRILL_SESSIONS; i++) {
        if (!drill->sessions[i] || !session_is_over(drill->sessions[i], error, sizeof error))
            continue;
        session_end(drill->sessions[i]);
        drill->sessions[i] = NULL;
        if (error[0])
            drill_note(drill, "lab", "session", error, NULL, true);
    }
}

/* A job that still runs is not started again. */
static bool session_is_running(const struct drill *drill)
{
    for (unsigned i = 0; i < DRILL_SESSIONS; i++)
        if (drill->sessions[i])
            return true;
    return false;
}

static json_t *burst_stages(const struct drill *drill, const struct step *step)
{
    char stages[80];
    double rate = drill_house(drill)->rate;
    snprintf(stages, sizeof stages, "%g/%gms,%g/1s", step->rate, step->for_s * 1000, rate);
    return json_pack("{s:s}", "stages", stages);
}

static json_t *load_step(const struct step *step)
{
    json_t *change = json_object();
    if (step->items >= 0)
        json_object_set_new(change, "items", json_integer((json_int_t)step->items));
    if (step->retries >= 0)
        json_object_set_new(change, "retries", json_integer((json_int_t)step->retries));
    return change;
}

/* How long a step goes on. */
static double step_length_s(const struct step *step)
{
    if (step->kind == STEP_BURST)
        return step->for_s;
    return step->kind == STEP_SQL ? step->hold_s : 0;
}

static void take_step(struct engine *engine, struct drill *drill, const struct step *step)
{
    bool ok = true;
    if (step->kind == STEP_SQL)
        drill_start_session(drill, engine->config.lab.conninfo, step);
    else
        ok = drill_change_load(
            engine, drill, step->kind == STEP_BURST ? burst_stages(drill, step) : load_step(step));
    if (!ok)
        drill_note(drill, "drill", "trouble", engine->lab.why, NULL, true);
}

/* Steps of one start: those whose time has come since the last turn. */
static void take_steps(struct engine *engine, struct drill *drill, const struct step *steps,
                       int count, double since_s, double before_s, double now_s)
{
    for (int i = 0; i < count; i++)
        if (steps[i].after_s > before_s && steps[i].after_s <= now_s - since_s)
            take_step(engine, drill, &steps[i]);
}

static void begin_trigger(struct engine *engine, struct drill *drill, double now_s)
{
    const struct scenario_drill *scenario = &drill->scenario->drill;
    double end_s = now_s;
    drill->trigger_began = true;
    drill->trigger_at_s = now_s;
    drill->next_trigger_s =
        now_s + plan_trigger_gap_s(&drill->plan, drill->scenario, drill->triggers++);
    for (int i = 0; i < scenario->trigger_count; i++)
        end_s = fmax(end_s,
                     now_s + scenario->trigger[i].after_s + step_length_s(&scenario->trigger[i]));
    if (scenario->trigger_lasts_s >= 0)
        end_s = now_s + scenario->trigger_lasts_s;
    drill->trigger_shadow_until_s = end_s + SHADOW_S;
    drill_note(drill, "drill", "trigger", "the trigger comes", NULL, true);
    take_steps(engine, drill, scenario->trigger, scenario->trigger_count, now_s, -1, now_s);
}

static void run_triggers(struct engine *engine, struct drill *drill, double now_s)
{
    const struct scenario_drill *scenario = &drill->scenario->drill;
    if (scenario->trigger_count == 0)
        return;
    if (now_s >= drill->next_trigger_s && !session_is_running(drill))
        begin_trigger(engine, drill, now_s);
    else
        take_steps(engine, drill, scenario->trigger, scenario->trigger_count, drill->trigger_at_s,
                   drill->last_turn_s - drill->trigger_at_s, now_s);
}

static void deploy_planned(struct engine *engine, struct drill *drill,
                           const struct plan_deployment *planned, double now_s)
{
    const struct scenario_drill *scenario = &drill->scenario->drill;
    const struct version *present = &drill->versions[drill->version];
    json_t *toggles = json_copy(present->toggles);
    for (int i = 0; planned->guilty && i < scenario->toggle_count; i++)
        json_object_set_new(toggles, scenario->toggles[i].name,
                            json_string(scenario->toggles[i].value));
    struct version version = {.number = planned->version,
                              .summary = planned->summary,
                              .at_s = now_s,
                              .toggles = toggles,
                              .is_guilty = planned->guilty || present->is_guilty,
                              .is_repaired = present->is_repaired};
    if (drill_deploy(engine, drill, version))
        drill->next_deployment++;
    else
        snprintf(drill->trouble, sizeof drill->trouble, "%s", engine->lab.why);
}

static void begin_fault(struct engine *engine, struct drill *drill, double now_s)
{
    const struct scenario_drill *scenario = &drill->scenario->drill;
    drill->state = DRILL_BURNING;
    drill->t_s[DRILL_T0] = now_s;
    drill_note(drill, "drill", "fault", "the fault is in force", json_pack("{s:f}", "t_s", now_s),
               true);
    take_steps(engine, drill, scenario->at_fault, scenario->at_fault_count, now_s, -1, now_s);
    drill->next_trigger_s = now_s;
}

void drill_run_plan(struct engine *engine, struct drill *drill, double now_s)
{
    const struct scenario_drill *scenario = &drill->scenario->drill;
    end_finished_sessions(drill);
    if (drill->next_deployment < PLAN_DEPLOYMENTS &&
        now_s >= drill->plan.deployments[drill->next_deployment].at_s)
        deploy_planned(engine, drill, &drill->plan.deployments[drill->next_deployment], now_s);
    bool all_deployed = drill->next_deployment == PLAN_DEPLOYMENTS;
    if (drill->state == DRILL_HEALTHY && all_deployed && now_s >= drill->plan.fault_s) {
        begin_fault(engine, drill, now_s);
    } else if (drill->state == DRILL_BURNING) {
        take_steps(engine, drill, scenario->at_fault, scenario->at_fault_count,
                   drill->t_s[DRILL_T0], drill->last_turn_s - drill->t_s[DRILL_T0], now_s);
    }
    if (drill->state == DRILL_BURNING)
        run_triggers(engine, drill, now_s);
    drill->last_turn_s = now_s;
}

void drill_resume_sessions(struct engine *engine, struct drill *drill)
{
    const struct scenario_drill *scenario = &drill->scenario->drill;
    for (int i = 0; i < scenario->at_fault_count; i++) {
        const struct step *step = &scenario->at_fault[i];
        double since_s = drill_now_s(drill) - drill->t_s[DRILL_T0] - step->after_s;
        if (drill->state == DRILL_BURNING && step->kind == STEP_SQL && since_s >= 0 &&
            since_s < step->hold_s && !drill->database_repaired)
            drill_start_session(drill, engine->config.lab.conninfo, step);
    }
}
