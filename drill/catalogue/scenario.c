#include "drill/catalogue/scenario.h"

#include "common/check.h"

#include <math.h>

#define MAX_S    86400
#define MAX_RATE 10000

static const char *const top_keys[] = {"title",   "cause", "known_from", "time_limit_s", "toggles",
                                       "service", "roles", "load",       "baseline",     "fault",
                                       "symptom", "fix",   "non_fix",    "drill",        NULL};
static const char *const drill_keys[] = {"level",    "house",   "version",
                                         "at_fault", "trigger", "claims",
                                         "effects",  "hints",   "untouched_bad_share",
                                         NULL};
static const char *const claim_keys[] = {"latent", "trigger", "sustains", NULL};
static const char *const roles[] = {"reporting", "nightly", "migrator", NULL};

/* Has `node` as a list of 1..most entries; -1: refused. */
static int list_of(struct yaml_file *file, const yaml_node_t *table, const char *key, int most)
{
    int size = yaml_list_size(yaml_value(file, table, key));
    if (size >= 1 && size <= most)
        return size;
    yaml_refuse(file, table, key, "%s must be a list of 1 to %d entries", key, most);
    return -1;
}

static bool read_load_step(struct yaml_file *file, const yaml_node_t *node, struct step *step)
{
    static const char *const keys[] = {"items", "retries", NULL};
    step->kind = STEP_LOAD;
    step->items = step->retries = -1;
    if (!yaml_is_table(file, node, "load", keys) ||
        !yaml_number(file, node, "load", "items", 1, 1000, &step->items) ||
        !yaml_number(file, node, "load", "retries", 0, 20, &step->retries))
        return false;
    return step->items >= 0 || step->retries >= 0 ||
           yaml_refuse(file, node, NULL, "load: changes nothing: wants items or retries");
}

static bool read_burst_step(struct yaml_file *file, const yaml_node_t *node, struct step *step)
{
    static const char *const keys[] = {"rate", "for_s", NULL};
    step->kind = STEP_BURST;
    if (!yaml_is_table(file, node, "burst", keys) ||
        !yaml_number(file, node, "burst", "rate", 1, MAX_RATE, &step->rate) ||
        !yaml_number(file, node, "burst", "for_s", 0.1, 60, &step->for_s))
        return false;
    return (step->rate > 0 && step->for_s > 0) ||
           yaml_refuse(file, node, NULL, "burst: rate or for_s is missing");
}

static bool read_statements(struct yaml_file *file, const yaml_node_t *node, struct step *step)
{
    step->statement_count = list_of(file, node, "statements", SCENARIO_STATEMENTS);
    for (int i = 0; i < step->statement_count; i++) {
        const yaml_node_t *entry = yaml_list_entry(file, yaml_value(file, node, "statements"), i);
        step->statements[i] = yaml_scalar(entry);
        if (!step->statements[i] || !step->statements[i][0])
            return yaml_refuse(file, entry, NULL, "sql: a statement must be a text");
    }
    return step->statement_count > 0;
}

static bool read_sql_step(struct yaml_file *file, const yaml_node_t *node, struct step *step)
{
    static const char *const keys[] = {"role", "statements", "hold_s", NULL};
    step->kind = STEP_SQL;
    if (!yaml_is_table(file, node, "sql", keys) || !read_statements(file, node, step) ||
        !yaml_number(file, node, "sql", "hold_s", 0, MAX_S, &step->hold_s))
        return false;
    int role = yaml_choice(file, node, "sql", "role", roles);
    step->role = role < 0 ? NULL : roles[role];
    return role >= 0;
}

static bool read_step(struct yaml_file *file, const yaml_node_t *node, struct step *step)
{
    static const char *const keys[] = {"load", "burst", "sql", "after_s", NULL};
    if (!yaml_is_table(file, node, "a step", keys) ||
        !yaml_number(file, node, "a step", "after_s", 0, MAX_S, &step->after_s))
        return false;
    const yaml_node_t *load = yaml_value(file, node, "load");
    const yaml_node_t *burst = yaml_value(file, node, "burst");
    const yaml_node_t *sql = yaml_value(file, node, "sql");
    if ((load != NULL) + (burst != NULL) + (sql != NULL) != 1)
        return yaml_refuse(file, node, NULL, "a step wants one of load, burst, sql");
    if (load)
        return read_load_step(file, load, step);
    return burst ? read_burst_step(file, burst, step) : read_sql_step(file, sql, step);
}

/* The steps that `table` has under `key`; -1: refused. */
static int read_steps(struct yaml_file *file, const yaml_node_t *table, const char *key,
                      struct step steps[SCENARIO_STEPS])
{
    int count = list_of(file, table, key, SCENARIO_STEPS);
    for (int i = 0; i < count; i++)
        if (!read_step(file, yaml_list_entry(file, yaml_value(file, table, key), i), &steps[i]))
            return -1;
    return count;
}

static bool read_version(struct yaml_file *file, const yaml_node_t *node,
                         struct scenario_drill *drill)
{
    static const char *const keys[] = {"toggles", "summary", NULL};
    if (!yaml_is_table(file, node, "version", keys))
        return false;
    drill->summary = yaml_text(file, node, "version", "summary");
    const yaml_node_t *toggles = yaml_value(file, node, "toggles");
    if (!drill->summary)
        return false;
    if (!toggles || toggles->type != YAML_MAPPING_NODE)
        return yaml_refuse(file, node, "toggles", "version: toggles must be a table");
    for (const yaml_node_pair_t *pair = toggles->data.mapping.pairs.start;
         pair < toggles->data.mapping.pairs.top; pair++) {
        const char *name = yaml_scalar(yaml_document_get_node(&file->document, pair->key));
        const char *value = yaml_scalar(yaml_document_get_node(&file->document, pair->value));
        if (drill->toggle_count == SCENARIO_TOGGLES || !value || !value[0])
            return yaml_refuse(file, toggles, name,
                               "version.toggles: %.40s has no value, or is more than %d can be",
                               name, SCENARIO_TOGGLES);
        drill->toggles[drill->toggle_count].name = name;
        drill->toggles[drill->toggle_count++].value = value;
    }
    return drill->toggle_count > 0 ||
           yaml_refuse(file, node, "toggles", "version: toggles are missing");
}

static bool read_trigger(struct yaml_file *file, const yaml_node_t *node,
                         struct scenario_drill *drill)
{
    static const char *const keys[] = {"every_min_s", "every_max_s", "lasts_s", "steps", NULL};
    drill->trigger_lasts_s = -1;
    if (!yaml_is_table(file, node, "trigger", keys) ||
        !yaml_number(file, node, "trigger", "every_min_s", 5, MAX_S, &drill->every_min_s) ||
        !yaml_number(file, node, "trigger", "every_max_s", 5, MAX_S, &drill->every_max_s) ||
        !yaml_number(file, node, "trigger", "lasts_s", 0, MAX_S, &drill->trigger_lasts_s))
        return false;
    if (drill->every_min_s <= 0 || drill->every_max_s < drill->every_min_s)
        return yaml_refuse(file, node, "every_max_s",
                           "trigger: wants every_min_s and every_max_s, the second not smaller");
    drill->trigger_count = read_steps(file, node, "steps", drill->trigger);
    return drill->trigger_count > 0;
}

static bool read_claims(struct yaml_file *file, const yaml_node_t *node,
                        struct scenario_drill *drill)
{
    if (!yaml_is_table(file, node, "claims", claim_keys))
        return false;
    for (int asked = 0; asked < CLAIM_ASKED; asked++) {
        const char *key = yaml_text(file, node, "claims", claim_keys[asked]);
        if (!key)
            return false;
        enum claim claim = claim_by_key(key);
        if (claim == CLAIMS || claim_definitions[claim].asked != (enum claim_asked)asked)
            return yaml_refuse(file, node, claim_keys[asked],
                               "claims: %s: there is no claim '%.60s'", claim_keys[asked], key);
        drill->claims[asked] = claim;
    }
    return true;
}

/* What a change is not listed for, it does nothing to. */
static bool read_effects(struct yaml_file *file, const yaml_node_t *node,
                         struct scenario_drill *drill)
{
    bool seen[CHANGES] = {false};
    if (!yaml_is_table(file, node, "effects", &change_effect_names[EFFECT_MITIGATES]))
        return false;
    for (int effect = EFFECT_MITIGATES; effect < EFFECTS; effect++) {
        const yaml_node_t *list = yaml_value(file, node, change_effect_names[effect]);
        int size = list ? list_of(file, node, change_effect_names[effect], CHANGES) : 0;
        for (int i = 0; i < size; i++) {
            const yaml_node_t *entry = yaml_list_entry(file, list, i);
            const char *key = yaml_scalar(entry);
            enum change change = key ? change_by_key(key) : CHANGES;
            if (change == CHANGES || seen[change])
                return yaml_refuse(file, entry, NULL,
                                   "effects: '%.60s' is no change, or is there twice",
                                   key ? key : "");
            seen[change] = true;
            drill->effects[change] = (enum change_effect)effect;
        }
        if (size < 0)
            return false;
    }
    return yaml_value(file, node, "repairs") ||
           yaml_refuse(file, node, NULL, "effects: repairs is missing: one at least");
}

static bool read_hints(struct yaml_file *file, const yaml_node_t *drill_node,
                       struct scenario_drill *drill)
{
    const yaml_node_t *list = yaml_value(file, drill_node, "hints");
    if (yaml_list_size(list) != SCENARIO_HINTS)
        return yaml_refuse(file, drill_node, "hints", "drill: hints must be a list of %d texts",
                           SCENARIO_HINTS);
    for (int i = 0; i < SCENARIO_HINTS; i++) {
        const yaml_node_t *entry = yaml_list_entry(file, list, i);
        drill->hints[i] = yaml_scalar(entry);
        if (!drill->hints[i] || !drill->hints[i][0])
            return yaml_refuse(file, entry, NULL, "hints: a hint must be a text");
    }
    return true;
}

static bool read_optional(struct yaml_file *file, const yaml_node_t *node,
                          struct scenario_drill *drill)
{
    const yaml_node_t *version = yaml_value(file, node, "version");
    const yaml_node_t *trigger = yaml_value(file, node, "trigger");
    const yaml_node_t *house = yaml_value(file, node, "house");
    drill->has_house = house != NULL;
    if (house && !house_override(&drill->house, file, house))
        return false;
    if (version && !read_version(file, version, drill))
        return false;
    if (trigger && !read_trigger(file, trigger, drill))
        return false;
    if (yaml_value(file, node, "at_fault")) {
        drill->at_fault_count = read_steps(file, node, "at_fault", drill->at_fault);
        if (drill->at_fault_count < 0)
            return false;
    }
    return drill->toggle_count > 0 || drill->at_fault_count > 0 || drill->trigger_count > 0 ||
           yaml_refuse(file, node, NULL,
                       "drill: nothing burns: wants version, at_fault or trigger");
}

static bool read_drill(struct yaml_file *file, const yaml_node_t *node,
                       struct scenario_drill *drill)
{
    double level = -1;
    drill->untouched_bad_share = NAN;
    if (!yaml_is_table(file, node, "drill", drill_keys) ||
        !yaml_number(file, node, "drill", "level", 0, SCENARIO_LEVELS - 1, &level) ||
        !yaml_number(file, node, "drill", "untouched_bad_share", 0, 1, &drill->untouched_bad_share))
        return false;
    if (level < 0 || level != (double)(unsigned)level)
        return yaml_refuse(file, node, "level", "drill: level is missing, or no whole number");
    drill->level = (unsigned)level;
    const yaml_node_t *claims = yaml_value(file, node, "claims");
    const yaml_node_t *effects = yaml_value(file, node, "effects");
    if (!claims || !effects)
        return yaml_refuse(file, node, NULL, "drill: claims or effects are missing");
    return read_optional(file, node, drill) && read_claims(file, claims, drill) &&
           read_effects(file, effects, drill) && read_hints(file, node, drill);
}

static bool read_name(struct scenario *scenario)
{
    size_t length = strlen(scenario->file.name);
    static const char suffix[] = ".yaml";
    size_t stem = length - (sizeof suffix - 1);
    if (length <= sizeof suffix || strcmp(scenario->file.name + stem, suffix) != 0 ||
        stem >= sizeof scenario->name)
        return yaml_refuse(&scenario->file, NULL, NULL, "a scenario is a file NAME.yaml");
    snprintf(scenario->name, sizeof scenario->name, "%.*s", (int)stem, scenario->file.name);
    if (strspn(scenario->name, "abcdefghijklmnopqrstuvwxyz0123456789-") != stem)
        return yaml_refuse(&scenario->file, NULL, NULL,
                           "the name must be of small letters, digits and -");
    return true;
}

bool scenario_open(struct scenario *scenario, const char *path, const struct house *house)
{
    *scenario = (struct scenario){.drill = {.house = *house}};
    struct yaml_file *file = &scenario->file;
    if (!yaml_file_open(file, path) || !read_name(scenario))
        return false;
    const yaml_node_t *root = yaml_file_root(file);
    if (!yaml_is_table(file, root, "the file", top_keys))
        return false;
    scenario->title = yaml_text(file, root, "the file", "title");
    scenario->cause = yaml_text(file, root, "the file", "cause");
    if (!scenario->title || !scenario->cause)
        return false;
    const yaml_node_t *drill = yaml_value(file, root, "drill");
    scenario->has_drill = drill != NULL;
    return !drill || read_drill(file, drill, &scenario->drill);
}

void scenario_close(struct scenario *scenario)
{
    yaml_file_close(&scenario->file);
}
