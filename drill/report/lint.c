#include "drill/report/lint.h"

#include "common/check.h"
#include "drill/report/postmortem.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>

#define LINE_SIZE   2048
#define CELLS       8
#define SECTION_MAX 16

struct lint {
    const char *name;
    FILE *out;
    struct lint_result result;
    unsigned line;
    int section; /* of postmortem_sections; -1: none of them */
    bool in_code;
    bool seen[SECTION_MAX];
    unsigned actions;
    const struct replay *replay;
};

__attribute__((format(printf, 2, 3))) static void error(struct lint *lint, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(lint->out, "%s:%u: error: ", lint->name, lint->line);
    vfprintf(lint->out, format, arguments);
    fputc('\n', lint->out);
    va_end(arguments);
    lint->result.errors++;
}

static void warn(struct lint *lint, const char *what, const char *question)
{
    fprintf(lint->out, "%s:%u: warning: '%s': %s (\"lint: ok\" keeps it)\n", lint->name, lint->line,
            what, question);
    lint->result.warnings++;
}

/* ---- sections ------------------------------------------------------------------------------- */

static void enter_section(struct lint *lint, const char *title)
{
    lint->section = -1;
    for (int i = 0; postmortem_sections[i]; i++)
        if (strcmp(postmortem_sections[i], title) == 0) {
            lint->section = i;
            lint->seen[i] = true;
        }
}

static bool in_section(const struct lint *lint, const char *title)
{
    return lint->section >= 0 && strcmp(postmortem_sections[lint->section], title) == 0;
}

static void check_sections(struct lint *lint)
{
    for (int i = 0; postmortem_sections[i]; i++)
        if (!lint->seen[i])
            error(lint, "the section '%s' is missing", postmortem_sections[i]);
    if (lint->actions == 0)
        error(lint, "there is no action item");
}

/* ---- actions -------------------------------------------------------------------------------- */

/* Splits "| a | b |" into its cells, without the blanks around them. Returns how many. */
static int split_cells(char *line, char *cells[CELLS])
{
    int count = 0;
    for (char *cell = strchr(line, '|'); cell && count < CELLS;) {
        char *next = strchr(++cell, '|');
        if (!next)
            break;
        *next = '\0';
        cell += strspn(cell, " \t");
        for (char *end = cell + strlen(cell); end > cell && isspace((unsigned char)end[-1]);)
            *--end = '\0';
        cells[count++] = cell;
        cell = next;
    }
    return count;
}

static bool is_date(const char *text)
{
    int year, month, day, length = 0;
    return sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &length) == 3 && length == 10 &&
           !text[10] && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

static void check_action(struct lint *lint, const char *line)
{
    static const char *const wanted[] = {"the action", "a type", "an owner", "a date, YYYY-MM-DD"};
    char copy[LINE_SIZE];
    char *cells[CELLS];
    snprintf(copy, sizeof copy, "%s", line);
    int count = split_cells(copy, cells);
    bool is_rule = count > 0 && cells[0][0] && strspn(cells[0], "-:") == strlen(cells[0]);
    if (count == 0 || is_rule || strcmp(cells[0], "action") == 0)
        return;
    lint->actions++;
    for (int i = 0; i < 4; i++) {
        bool there = i < count && cells[i][0] && (i < 3 || is_date(cells[i]));
        if (!there)
            error(lint, "an action lacks %s", wanted[i]);
    }
}

/* ---- times ---------------------------------------------------------------------------------- */

/* "- T1 the page: 0:02:13" against the record. */
static void check_time(struct lint *lint, const char *line)
{
    char expected[POSTMORTEM_TIME_SIZE];
    int time;
    if (!lint->replay || sscanf(line, "- T%1d ", &time) != 1 || time > REPLAY_T4 || time < 0)
        return;
    const char *colon = strchr(line, ':');
    double at_s = lint->replay->t_s[time];
    postmortem_time(at_s, expected);
    const char *wanted = isnan(at_s) ? "not reached" : expected;
    size_t length = strlen(wanted);
    colon = colon ? colon + 1 + strspn(colon + 1, " ") : "";
    if (strncmp(colon, wanted, length) != 0 || isdigit((unsigned char)colon[length]))
        error(lint, "T%d is %s in the record", time, wanted);
}

/* ---- words ---------------------------------------------------------------------------------- */

/* Blanks out `code` and "quotes". */
static void blank_quotes(char *line)
{
    for (char *c = line; *c; c++) {
        char quote = *c;
        if (quote != '`' && quote != '"')
            continue;
        char *end = strchr(c + 1, quote);
        if (!end)
            return;
        memset(c, ' ', (size_t)(end - c) + 1);
        c = end;
    }
}

/* A word of the line, whatever its case. */
static bool has_word(const char *line, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = line; (at = strcasestr(at, word)); at++) {
        bool starts = at == line || !isalnum((unsigned char)at[-1]);
        if (starts && !isalnum((unsigned char)at[length]))
            return true;
    }
    return false;
}

static bool names_somebody(const char *line)
{
    static const char *const somebody[] = {"he",     "she",         "they",      "we",
                                           "i",      "you",         "somebody",  "someone",
                                           "nobody", "on-call",     "engineer",  "commander",
                                           "team",   "facilitator", "developer", "operator"};
    for (size_t i = 0; i < sizeof somebody / sizeof somebody[0]; i++)
        if (has_word(line, somebody[i]))
            return true;
    return false;
}

static bool names_participant(const struct lint *lint, const char *line)
{
    size_t i;
    json_t *entry;
    json_array_foreach (lint->replay ? lint->replay->lines : NULL, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "commander"));
        if (name && strlen(name) > 1 && has_word(line, name))
            return true;
    }
    return false;
}

static void check_words(struct lint *lint, const char *line)
{
    static const char *const blame[] = {"should have", "could have", "forgot", "failed to"};
    char copy[LINE_SIZE];
    snprintf(copy, sizeof copy, "%s", line);
    blank_quotes(copy);
    for (size_t i = 0; i < sizeof blame / sizeof blame[0]; i++)
        if (has_word(copy, blame[i]) && names_somebody(copy))
            warn(lint, blame[i], "what made the step that was taken look right at the time?");
    if (names_participant(lint, copy))
        warn(lint, "a participant's name", "which role was it, and what did it know?");
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void check_line(struct lint *lint, const char *line)
{
    if (strncmp(line, "```", 3) == 0) {
        lint->in_code = !lint->in_code;
        return;
    }
    if (lint->in_code || strncmp(line, "    ", 4) == 0)
        return;
    if (strncmp(line, "## ", 3) == 0) {
        enter_section(lint, line + 3);
        return;
    }
    if (in_section(lint, "Action items") && line[0] == '|')
        check_action(lint, line);
    check_time(lint, line);
    if (!strstr(line, "lint: ok") && line[0] != '>')
        check_words(lint, line);
}

struct lint_result lint_postmortem(const char *text, const char *name, const struct replay *replay,
                                   FILE *out)
{
    struct lint lint = {.name = name, .out = out, .section = -1, .replay = replay};
    while (*text) {
        char line[LINE_SIZE];
        size_t length = strcspn(text, "\n");
        lint.line++;
        snprintf(line, sizeof line, "%.*s", (int)length, text);
        check_line(&lint, line);
        text += length + (text[length] == '\n');
    }
    check_sections(&lint);
    return lint.result;
}
