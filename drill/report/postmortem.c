#include "drill/report/postmortem.h"

#include "common/check.h"
#include "drill/account/alert.h"

#include <math.h>

const char *const postmortem_sections[] = {
    "Summary", "Impact",  "Contributing factors", "Detection",    "Timeline",
    "Changes", "Figures", "What surprised us",    "Action items", NULL};

static const char *const time_words[] = {"T0 the fault was in force",
                                         "T1 the page",
                                         "T2 acknowledged",
                                         "T3 mitigated",
                                         "T4 repaired",
                                         "the end"};

void postmortem_time(double at_s, char out[POSTMORTEM_TIME_SIZE])
{
    long seconds = at_s > 0 ? lround(at_s) : 0;
    snprintf(out, POSTMORTEM_TIME_SIZE, "%ld:%02ld:%02ld", seconds / 3600, seconds / 60 % 60,
             seconds % 60);
}

static const char *text_of(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text ? text : "";
}

/* Text of people goes into a table's cell. */
static void add_cell(struct text *out, const char *text)
{
    text_add(out, "| ");
    for (; *text; text++) {
        if (*text == '|')
            text_add(out, "\\|");
        else if (*text == '\n' || *text == '\r')
            text_add(out, " ");
        else
            text_append(out, text, 1);
    }
    text_add(out, " ");
}

static void heading(struct text *out, size_t section)
{
    text_addf(out, "\n## %s\n\n", postmortem_sections[section]);
}

static void add_times(const struct replay *replay, struct text *out)
{
    char at[POSTMORTEM_TIME_SIZE];
    text_add(out, "Times after the load's start, as H:MM:SS.\n\n");
    for (int time = 0; time < REPLAY_TIMES; time++) {
        postmortem_time(replay->t_s[time], at);
        text_addf(out, "- %s: %s\n", time_words[time],
                  isnan(replay->t_s[time]) ? "not reached" : at);
    }
}

static void add_span(struct text *out, const struct replay *replay, const char *name,
                     enum replay_time from, enum replay_time to)
{
    if (!isnan(replay->t_s[from]) && !isnan(replay->t_s[to]))
        text_addf(out, "- %s: %.0f s\n", name, replay->t_s[to] - replay->t_s[from]);
}

/* From T0 until the users were well again for good, or the end. */
static struct replay_sums fire_sums(const struct replay *replay)
{
    unsigned first = replay_second(replay, REPLAY_T0, replay->row_count);
    return replay_sum(replay, first, replay_second(replay, REPLAY_T4, replay->row_count));
}

static void add_impact(const struct replay *replay, struct text *out)
{
    struct replay_sums sums = fire_sums(replay);
    double seconds = replay->row_count > 0 ? replay->row_count : 1;
    double a_second = replay_sum(replay, 0, replay->row_count).demanded / seconds;
    double budget = a_second * SLO_PERIOD_S * SLO_BAD_SHARE;
    text_addf(out, "%.0f of %.0f requests were not answered right, in %.1f minutes", sums.bad,
              sums.demanded, sums.bad_seconds / 60.0);
    if (sums.shed > 0)
        text_addf(out, "; %.0f of them were shed", sums.shed);
    text_add(out, ".\n");
    if (budget > 0)
        text_addf(out,
                  "\nThat is %.2f %% of the budget for answers (%.0f bad in 28 days at %.0f "
                  "requests a second). At 20 %% in one incident the example policy of the SRE "
                  "Workbook asks for a postmortem with an action of the highest priority.\n",
                  100 * sums.bad / budget, budget, a_second);
    text_add(out, "\nWhat did the users see? Who noticed first?\n");
}

static void add_factors(struct text *out)
{
    static const char *const factors[] = {
        "Latent condition: what was there before, and harmless until then?",
        "Trigger: what set it off?",
        "What sustained it: why did it not pass with its trigger?",
        "Detection gap: what would have shown it earlier?",
        "What lengthened it?",
        "What shortened it?"};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++)
        text_addf(out, "- %s Evidence:\n", factors[i]);
}

/* What people said, did and decided, and what the lab did; the drill's own lines are the times. */
static void add_timeline(const struct replay *replay, struct text *out)
{
    size_t i;
    json_t *line;
    char at[POSTMORTEM_TIME_SIZE];
    text_add(out, "| time | who | what | |\n|---|---|---|---|\n");
    json_array_foreach (replay->lines, i, line) {
        if (strcmp(text_of(line, "kind"), "start") == 0)
            continue;
        postmortem_time(json_number_value(json_object_get(line, "at_s")), at);
        text_addf(out, "| %s ", at);
        add_cell(out, text_of(line, "who"));
        add_cell(out, text_of(line, "kind"));
        add_cell(out, text_of(line, "text"));
        text_add(out, "|\n");
    }
}

static const json_t *outcome_of(const struct replay *replay, size_t decided, const char *change)
{
    for (size_t i = decided + 1; i < json_array_size(replay->lines); i++) {
        const json_t *line = json_array_get(replay->lines, i);
        if (strcmp(text_of(line, "change"), change) != 0)
            continue;
        if (strcmp(text_of(line, "kind"), "outcome") == 0)
            return line;
        if (strcmp(text_of(line, "kind"), "decided") == 0)
            return NULL; /* decided on again: the first one had none */
    }
    return NULL;
}

static void add_changes(const struct replay *replay, struct text *out)
{
    size_t i;
    json_t *line;
    char at[POSTMORTEM_TIME_SIZE];
    text_add(out, "| time | change | expected | came out |\n|---|---|---|---|\n");
    json_array_foreach (replay->lines, i, line) {
        if (strcmp(text_of(line, "kind"), "decided") != 0)
            continue;
        const json_t *outcome = outcome_of(replay, i, text_of(line, "change"));
        postmortem_time(json_number_value(json_object_get(line, "at_s")), at);
        text_addf(out, "| %s ", at);
        add_cell(out, text_of(line, "change"));
        if (outcome)
            text_addf(
                out, "| %g | %g (%s) |\n", json_number_value(json_object_get(outcome, "expected")),
                json_number_value(json_object_get(outcome, "outcome")),
                json_is_true(json_object_get(outcome, "met")) ? "as expected" : "not as expected");
        else
            text_add(out, "| | |\n");
    }
    text_add(out, "\nWhat made each step look right at the time?\n");
}

static void add_phase(const struct replay *replay, struct text *out, const char *name,
                      unsigned first, unsigned end)
{
    struct replay_sums sums = replay_sum(replay, first, end);
    if (first >= end || sums.demanded <= 0)
        return;
    text_addf(out, "| %s | %u | %.0f | %.1f %% | %.1f %% | ", name, end - first, sums.demanded,
              100 * sums.right / sums.demanded,
              sums.right > 0 ? 100 * sums.within / sums.right : 0);
    if (isnan(sums.p99_max_ms))
        text_add(out, "–");
    else
        text_addf(out, "%.0f ms", sums.p99_max_ms);
    text_addf(out, " | %u |\n", sums.crashes);
}

static void add_figures(const struct replay *replay, struct text *out)
{
    unsigned end = replay->row_count;
    unsigned fault = replay_second(replay, REPLAY_T0, end);
    unsigned paged = replay_second(replay, REPLAY_T1, end);
    unsigned mitigated = replay_second(replay, REPLAY_T3, end);
    unsigned repaired = replay_second(replay, REPLAY_T4, end);
    text_add(out, "| phase | seconds | requests | right | of those in 200 ms | worst p99 of a "
                  "second | crashes |\n|---|---|---|---|---|---|---|\n");
    add_phase(replay, out, "before the fault", 0, fault);
    add_phase(replay, out, "until the page", fault, paged);
    add_phase(replay, out, "until mitigated", paged, mitigated);
    add_phase(replay, out, "until repaired", mitigated, repaired);
    add_phase(replay, out, "after", repaired, end);
}

void postmortem_write(const struct replay *replay, struct text *out)
{
    size_t section = 0;
    text_addf(out, "# Postmortem of drill %s\n", text_of(replay->start, "drill"));
    heading(out, section++);
    text_add(out, "What happened, in three sentences?\n");
    heading(out, section++);
    add_impact(replay, out);
    heading(out, section++);
    add_factors(out);
    heading(out, section++);
    add_times(replay, out);
    text_add(out, "\n");
    add_span(out, replay, "time to detect", REPLAY_T0, REPLAY_T1);
    add_span(out, replay, "time to acknowledge", REPLAY_T1, REPLAY_T2);
    add_span(out, replay, "to mitigated, from the fault", REPLAY_T0, REPLAY_T3);
    add_span(out, replay, "to mitigated, from the page", REPLAY_T1, REPLAY_T3);
    add_span(out, replay, "to repaired, from the fault", REPLAY_T0, REPLAY_T4);
    add_span(out, replay, "to repaired, from the page", REPLAY_T1, REPLAY_T4);
    heading(out, section++);
    add_timeline(replay, out);
    heading(out, section++);
    add_changes(replay, out);
    heading(out, section++);
    add_figures(replay, out);
    heading(out, section++);
    text_add(out, "What did you expect to see, and did not?\n");
    heading(out, section++);
    text_add(out, "| action | type | owner | due |\n|---|---|---|---|\n|  |  |  |  |\n");
    assert(!postmortem_sections[section]);
}
