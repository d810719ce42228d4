/* A record made by hand, its figures, the draft of its postmortem, and the lint. */
#include "drill/record/record.h"
#include "drill/report/lint.h"
#include "drill/report/postmortem.h"

#include "tests/support/support.h"

#include <math.h>
#include <unistd.h>

#define RATE 20

static char parent[] = "/tmp/flashover-postmortem-XXXXXX";
static char folder[100];
static struct replay replay;

static void append(struct record *record, const char *kind, json_t *fields)
{
    assert_true(record_append(record, kind, fields, false));
}

static json_t *entry(double at_s, const char *who, const char *text)
{
    return json_pack("{s:f, s:s, s:s}", "at_s", at_s, "who", who, "text", text);
}

/* 200 s: fault at 100, page at 110, a change at 130, well from 140 on, repaired then. */
static void append_rows(struct record *record)
{
    for (int second = 0; second < 200; second++) {
        unsigned right = second >= 100 && second < 140 ? 5 : RATE;
        struct account_row row = {.known = true,
                                  .final = true,
                                  .demanded = RATE,
                                  .due = RATE,
                                  .ended = RATE,
                                  .right = right,
                                  .within = right,
                                  .p50_ms = 63,
                                  .p99_ms = second == 150 ? 90 : 73,
                                  .crashes = second == 120,
                                  .share_percent = 100};
        json_t *fields = account_row_json(&row);
        json_object_set_new(fields, "second", json_integer(second));
        append(record, "row", fields);
    }
}

static int make_record(void **state)
{
    char why[200];
    (void)state;
    if (!mkdtemp(parent))
        return -1;
    snprintf(folder, sizeof folder, "%s/a-drill", parent);
    struct record *record = record_open(folder, why, sizeof why);
    if (!record)
        return -1;
    append(record, "start",
           json_pack("{s:s, s:s, s:s}", "drill", "a-drill", "scenario", "x", "who", "drill"));
    append_rows(record);
    append(record, "fault",
           json_pack("{s:f, s:f, s:s}", "at_s", 100.5, "t_s", 100.0, "who", "drill"));
    append(record, "page",
           json_pack("{s:f, s:f, s:s, s:s}", "at_s", 110.2, "t_s", 110.0, "who", "drill", "text",
                     "requests fail"));
    json_t *acknowledged = entry(115, "people", "on it");
    json_object_set_new(acknowledged, "commander", json_string("Robin"));
    append(record, "acknowledge", acknowledged);
    append(record, "repaired", entry(116, "people", "a claim"));
    json_t *decided = entry(130, "people", "one query for a feed");
    json_object_set_new(decided, "change", json_string("code-one-query"));
    append(record, "decided", decided);
    append(record, "outcome",
           json_pack("{s:f, s:s, s:s, s:s, s:f, s:f, s:b}", "at_s", 150.0, "who", "drill", "text",
                     "as expected", "change", "code-one-query", "expected", 1.0, "outcome", 0.0,
                     "met", 1));
    append(record, "observed", entry(135, "people", "a | b\nc"));
    append(record, "mitigated",
           json_pack("{s:f, s:f, s:s}", "at_s", 172.0, "t_s", 140.0, "who", "drill"));
    append(record, "repaired",
           json_pack("{s:f, s:f, s:s}", "at_s", 201.0, "t_s", 140.0, "who", "drill"));
    append(record, "end", entry(201, "drill", "repaired"));
    record_close(record);
    return replay_open(&replay, folder) ? 0 : -1;
}

static int remove_record(void **state)
{
    char file[140];
    (void)state;
    replay_close(&replay);
    snprintf(file, sizeof file, "%s/record.jsonl", folder);
    unlink(file);
    rmdir(folder);
    return rmdir(parent);
}

static void test_the_record_comes_back(void **state)
{
    (void)state;
    assert_int_equal(replay.row_count, 200);
    assert_int_equal(replay.passed_over, 0);
    assert_true(replay.t_s[REPLAY_T0] == 100 && replay.t_s[REPLAY_T1] == 110);
    assert_true(replay.t_s[REPLAY_T2] == 115 && replay.t_s[REPLAY_T3] == 140);
    assert_true(replay.t_s[REPLAY_T4] == 140); /* the drill's own, not the claim */
    struct replay_sums sums = replay_sum(&replay, 100, 140);
    assert_true(sums.demanded == 800 && sums.right == 200 && sums.bad == 600);
    assert_int_equal(sums.bad_seconds, 40);
    assert_int_equal(sums.crashes, 1);
    assert_true(replay_sum(&replay, 0, 500).p99_max_ms == 90);
    assert_true(isnan(replay_sum(&replay, 300, 500).p99_max_ms));
    assert_int_equal(replay_second(&replay, REPLAY_END, 0), 200);
    struct replay none;
    assert_false(replay_open(&none, "/nowhere/at/all"));
    replay_close(&none);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in:\n%s", part, text);
}

static struct text draft(void)
{
    struct text text = {0};
    postmortem_write(&replay, &text);
    assert_false(text.failed);
    return text;
}

static void test_the_draft_has_the_facts(void **state)
{
    (void)state;
    struct text text = draft();
    for (int i = 0; postmortem_sections[i]; i++) {
        char heading[80];
        snprintf(heading, sizeof heading, "\n## %s\n", postmortem_sections[i]);
        assert_has(text.data, heading);
    }
    assert_has(text.data, "600 of 800 requests were not answered right, in 0.7 minutes.");
    assert_has(text.data,
               "1.24 % of the budget for answers (48384 bad in 28 days at 20 requests a second)");
    assert_has(text.data, "- T1 the page: 0:01:50\n");
    assert_has(text.data, "- time to detect: 10 s\n");
    assert_has(text.data, "- to repaired, from the page: 30 s\n");
    assert_has(text.data, "| 0:02:10 | code-one-query | 1 | 0 (as expected) |\n");
    assert_has(text.data, "| 0:02:15 | people | observed | a \\| b c |\n");
    assert_has(text.data, "| before the fault | 100 | 2000 | 100.0 % | 100.0 % | 73 ms | 0 |\n");
    assert_has(text.data, "| until mitigated | 30 | 600 | 25.0 % | 100.0 % | 73 ms | 1 |\n");
    text_clear(&text);
}

/* What the lint says of a text. */
static struct lint_result lint(const char *text, char **said)
{
    size_t size = 0;
    FILE *out = open_memstream(said, &size);
    struct lint_result result = lint_postmortem(text, "p.md", &replay, out);
    fclose(out);
    return result;
}

static void test_a_draft_lacks_its_actions_only(void **state)
{
    char *said;
    (void)state;
    struct text text = draft();
    struct lint_result result = lint(text.data, &said);
    assert_int_equal(result.errors, 4);
    assert_has(said, "error: an action lacks the action\n");
    assert_has(said, "error: an action lacks a date, YYYY-MM-DD\n");
    free(said);
    text_clear(&text);
}

/* The draft with one part in another form. */
static struct lint_result lint_changed(const char *old, const char *new, char **said)
{
    struct text text = draft();
    struct text changed = {0};
    static const char empty[] = "|  |  |  |  |\n";
    char *actions = strstr(text.data, empty);
    assert_non_null(actions);
    text_append(&changed, text.data, (size_t)(actions - text.data));
    text_add(&changed, "| alert on leaks | detect | platform | 2027-01-31 |\n");
    char *at = strstr(changed.data, old);
    assert_non_null(at);
    struct text whole = {0};
    text_append(&whole, changed.data, (size_t)(at - changed.data));
    text_add(&whole, new);
    text_add(&whole, at + strlen(old));
    struct lint_result result = lint(whole.data, said);
    text_clear(&whole);
    text_clear(&changed);
    text_clear(&text);
    return result;
}

static void test_what_the_lint_finds(void **state)
{
    static const struct {
        const char *old, *new, *said; /* "": nothing */
    } cases[] = {
        {"# Post", "# Post", ""},
        {"## Impact\n", "## Impakt\n", "error: the section 'Impact' is missing"},
        {"0:01:50", "0:01:51", "error: T1 is 0:01:50 in the record"},
        {"T2 acknowledged: 0:01:55", "T2 acknowledged: not reached", "error: T2 is 0:01:55"},
        {"| platform |", "|  |", "error: an action lacks an owner"},
        {"| 2027-01-31 |", "| soon |", "error: an action lacks a date"},
        {"| 2027-01-31 |", "| 2027-13-31 |", "error: an action lacks a date"},
        {"| alert on leaks | detect | platform | 2027-01-31 |\n", "",
         "error: there is no action item"},
        {"What happened, in three sentences?", "The on-call should have looked at the pool.",
         "warning: 'should have'"},
        {"What happened, in three sentences?", "They forgot the index.", "warning: 'forgot'"},
        {"What happened, in three sentences?", "We FAILED TO look.", "warning: 'failed to'"},
        {"What happened, in three sentences?", "Robin looked.", "warning: 'a participant's name'"},
        {"What happened, in three sentences?",
         "The write failed to return. It could have been lost.", ""},
        {"What happened, in three sentences?",
         "They said \"we should have known\", and `we forgot`.", ""},
        {"What happened, in three sentences?", "> they forgot", ""},
        {"What happened, in three sentences?", "    they forgot", ""},
        {"What happened, in three sentences?", "```\nthey forgot\n```", ""},
        {"What happened, in three sentences?", "They forgot. <!-- lint: ok -->", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *said;
        struct lint_result result = lint_changed(cases[i].old, cases[i].new, &said);
        unsigned expected = cases[i].said[0] ? 1 : 0;
        if (result.errors + result.warnings != expected || !strstr(said, cases[i].said))
            fail_msg("'%s' said: %s", cases[i].new, said);
        free(said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_record_comes_back),
        cmocka_unit_test(test_the_draft_has_the_facts),
        cmocka_unit_test(test_a_draft_lacks_its_actions_only),
        cmocka_unit_test(test_what_the_lint_finds),
    };
    return cmocka_run_group_tests_name("postmortem", tests, make_record, remove_record);
}
