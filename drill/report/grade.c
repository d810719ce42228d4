#include "drill/report/grade.h"

#include "common/check.h"

#include <math.h>

#define WRONG_CLAIM_POINTS 3
#define VAIN_CHANGE_POINTS 3
/* The first estimate of the impact: so soon after the page, and so near the last minute's figure.
 */
#define IMPACT_WITHIN_S     180
#define IMPACT_NEAR_PERCENT 10
#define IMPACT_WINDOW_S     60

static const struct grade_line empty_lines[GRADE_LINES] = {
    [GRADE_SPARED] = {.name = "users spared", .points = 30},
    [GRADE_REPAIRED] = {.name = "repaired", .points = 25},
    [GRADE_DIAGNOSIS] = {.name = "diagnosis", .points = 20},
    [GRADE_METHOD] = {.name = "method", .points = 10},
    [GRADE_COMMAND] = {.name = "command", .points = 15}};

static bool is_kind(const json_t *line, const char *kind)
{
    const char *text = json_string_value(json_object_get(line, "kind"));
    return text && strcmp(text, kind) == 0;
}

static double number_of(const json_t *line, const char *key)
{
    const json_t *number = json_object_get(line, key);
    return json_is_number(number) ? json_number_value(number) : (double)NAN;
}

/* How many changes that act were decided on. */
static unsigned count_changes(const struct replay *replay)
{
    size_t i;
    json_t *line;
    unsigned count = 0;
    json_array_foreach (replay->lines, i, line) {
        const char *key = json_string_value(json_object_get(line, "change"));
        enum change change = is_kind(line, "decided") && key ? change_by_key(key) : CHANGES;
        count += change != CHANGES && change_definitions[change].kind != CHANGE_IS_EVIDENCE;
    }
    return count;
}

/* Users whom people spared, beside a fire that nobody touches. Triggers' shadows count for nobody.
 */
static void grade_spared(const struct replay *replay, double untouched_bad_share,
                         struct grade_line *line)
{
    double bad = 0;
    double demanded = 0;
    unsigned paged = replay_second(replay, REPLAY_T1, replay->row_count);
    line->applies = !isnan(untouched_bad_share) && paged < replay->row_count;
    for (unsigned i = paged; i < replay->row_count; i++) {
        const struct account_row *row = &replay->rows[i];
        if (row->trigger_shadow)
            continue;
        demanded += row->demanded;
        bad += row->demanded > row->right ? row->demanded - row->right : 0;
    }
    double untouched = demanded * untouched_bad_share;
    if (!line->applies) {
        snprintf(line->why, sizeof line->why,
                 "what happens when nobody does anything is not measured");
    } else if (count_changes(replay) == 0) {
        snprintf(line->why, sizeof line->why, "nothing was changed");
    } else {
        line->fraction = untouched > 0 ? fmax(0, 1 - bad / untouched) : 0;
        snprintf(line->why, sizeof line->why,
                 "%.0f of %.0f requests since the page were bad or shed; untouched it would have "
                 "been %.0f",
                 bad, demanded, untouched);
    }
}

static void grade_repaired(const struct replay *replay, const struct scenario_drill *scenario,
                           struct grade_line *line)
{
    size_t i;
    json_t *entry;
    unsigned vain = 0;
    double repaired_s = replay->t_s[REPLAY_T4];
    line->applies = true;
    if (isnan(repaired_s)) {
        snprintf(line->why, sizeof line->why, "%s",
                 isnan(replay->t_s[REPLAY_T3]) ? "the users were not well again"
                                               : "mitigated only: the defect was not repaired");
        return;
    }
    json_array_foreach (replay->lines, i, entry) {
        const char *key = json_string_value(json_object_get(entry, "change"));
        enum change change = is_kind(entry, "decided") && key ? change_by_key(key) : CHANGES;
        if (change == CHANGES || number_of(entry, "at_s") > repaired_s ||
            change_definitions[change].kind != CHANGE_IS_DEPLOYMENT)
            continue;
        vain += scenario->effects[change] == EFFECT_NOTHING ||
                scenario->effects[change] == EFFECT_WORSE;
    }
    line->fraction = fmax(0, 1 - vain * VAIN_CHANGE_POINTS / line->points);
    snprintf(line->why, sizeof line->why, "repaired at second %.0f, after %u changes in vain",
             repaired_s, vain);
}

static void grade_diagnosis(const struct replay *replay, const struct scenario_drill *scenario,
                            struct grade_line *line)
{
    static const double points[CLAIM_ASKED] = {10, 5, 5};
    size_t i;
    json_t *entry;
    bool right[CLAIM_ASKED] = {false};
    unsigned wrong = 0;
    double sum = 0;
    line->applies = true;
    json_array_foreach (replay->lines, i, entry) {
        const char *key = json_string_value(json_object_get(entry, "claim"));
        enum claim claim = is_kind(entry, "claim") && key ? claim_by_key(key) : CLAIMS;
        if (claim == CLAIMS)
            continue;
        enum claim_asked asked = claim_definitions[claim].asked;
        right[asked] = claim == scenario->claims[asked]; /* the last one counts */
        wrong += !right[asked];
    }
    for (int asked = 0; asked < CLAIM_ASKED; asked++)
        sum += right[asked] ? points[asked] : 0;
    line->fraction = fmax(0, sum - WRONG_CLAIM_POINTS * wrong) / line->points;
    snprintf(line->why, sizeof line->why,
             "latent condition %s, trigger %s, what sustained it %s; %u claims were wrong",
             right[CLAIM_LATENT] ? "found" : "not found",
             right[CLAIM_TRIGGER] ? "found" : "not found",
             right[CLAIM_SUSTAINS] ? "found" : "not found", wrong);
}

/* 1 where the outcome is as expected or better than that, and 0 where it is nowhere near. */
static double nearness(const json_t *outcome)
{
    double expected = number_of(outcome, "expected");
    double came = number_of(outcome, "outcome");
    double larger = fmax(fabs(expected), fabs(came));
    if (json_is_true(json_object_get(outcome, "met")) || larger == 0)
        return 1;
    return isnan(larger) ? 0 : fmax(0, 1 - fabs(expected - came) / larger);
}

static void grade_method(const struct replay *replay, struct grade_line *line)
{
    size_t i;
    json_t *entry;
    double sum = 0;
    unsigned outcomes = 0;
    unsigned changes = count_changes(replay);
    line->applies = true;
    json_array_foreach (replay->lines, i, entry) {
        if (!is_kind(entry, "outcome"))
            continue;
        sum += nearness(entry);
        outcomes++;
    }
    if (changes == 0)
        snprintf(line->why, sizeof line->why, "nothing was changed");
    else
        snprintf(line->why, sizeof line->why,
                 "%u changes; %u outcomes are known, which came as near as %.2f on the average",
                 changes, outcomes, outcomes > 0 ? sum / outcomes : 0);
    line->fraction = changes > 0 && outcomes > 0 ? sum / outcomes : 0;
}

/* Bad requests in percent, over the minute before a second. */
static double bad_percent_before(const struct replay *replay, unsigned second)
{
    unsigned first = second > IMPACT_WINDOW_S ? second - IMPACT_WINDOW_S : 0;
    struct replay_sums sums = replay_sum(replay, first, second);
    return sums.demanded > 0 ? 100 * sums.bad / sums.demanded : 0;
}

/* Whether the first estimate of the impact came in time, with a percentage that is near. */
static bool impact_is_near(const struct replay *replay)
{
    size_t i;
    json_t *entry;
    json_array_foreach (replay->lines, i, entry) {
        double at_s = number_of(entry, "at_s");
        if (!is_kind(entry, "impact") || isnan(at_s) || at_s < 0)
            continue;
        double percent = number_of(entry, "percent");
        return at_s <= replay->t_s[REPLAY_T1] + IMPACT_WITHIN_S && !isnan(percent) &&
               fabs(percent - bad_percent_before(replay, (unsigned)at_s)) <= IMPACT_NEAR_PERCENT;
    }
    return false;
}

static void grade_command(const struct replay *replay, struct grade_line *line)
{
    size_t i;
    json_t *entry;
    bool severity = false;
    bool commander = false;
    unsigned updates = 0;
    line->applies = !isnan(replay->t_s[REPLAY_T1]);
    json_array_foreach (replay->lines, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "commander"));
        bool acknowledges = is_kind(entry, "acknowledge");
        severity |= acknowledges && json_is_integer(json_object_get(entry, "severity"));
        commander |= acknowledges && name && *name;
        updates += is_kind(entry, "said");
    }
    bool impact = impact_is_near(replay);
    double points = (severity ? 3 : 0) + (commander ? 3 : 0) + (impact ? 5 : 0) +
                    (updates >= 2 ? 4 : 2.0 * updates);
    line->fraction = points / line->points;
    snprintf(line->why, sizeof line->why, "severity %s, commander %s, first impact %s, %u updates",
             severity ? "named" : "missing", commander ? "named" : "missing",
             impact ? "in time and near" : "missing, late or far off", updates);
}

struct grade grade_drill(const struct replay *replay, const struct scenario_drill *scenario)
{
    struct grade grade = {0};
    memcpy(grade.lines, empty_lines, sizeof grade.lines);
    grade_spared(replay, scenario->untouched_bad_share, &grade.lines[GRADE_SPARED]);
    grade_repaired(replay, scenario, &grade.lines[GRADE_REPAIRED]);
    grade_diagnosis(replay, scenario, &grade.lines[GRADE_DIAGNOSIS]);
    grade_method(replay, &grade.lines[GRADE_METHOD]);
    grade_command(replay, &grade.lines[GRADE_COMMAND]);
    for (int i = 0; i < GRADE_LINES; i++) {
        const struct grade_line *line = &grade.lines[i];
        assert(line->fraction >= 0 && line->fraction <= 1);
        grade.points += line->applies ? line->points * line->fraction : 0;
        grade.of += line->applies ? line->points : 0;
    }
    return grade;
}

json_t *grade_json(const struct grade *grade)
{
    json_t *lines = json_array();
    for (int i = 0; i < GRADE_LINES; i++) {
        const struct grade_line *line = &grade->lines[i];
        json_array_append_new(lines,
                              json_pack("{s:s, s:b, s:f, s:f, s:s}", "line", line->name, "applies",
                                        line->applies, "points", line->points * line->fraction,
                                        "of", line->points, "why", line->why));
    }
    return json_pack("{s:f, s:f, s:o}", "points", grade->points, "of", grade->of, "lines", lines);
}
