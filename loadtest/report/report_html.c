#include "loadtest/report/report_html.h"

#include "common/check.h"
#include "common/page/asset.h"
#include "loadtest/books/ledger.h"

#define MARK_BEGIN "{{"
#define MARK_END   "}}"

/* From html/report.S. */
ASSET(report_html);
ASSET(report_css);
ASSET(report_js);
/* From common/page/shared.S. */
ASSET(charts_js);
ASSET(chart_js);

struct part {
    const char *mark;
    const char *bytes;
    const char *end;
};

static const struct part parts[] = {
    {"style", asset_report_css, asset_report_css_end},
    {"chart", asset_chart_js, asset_chart_js_end},
    {"charts", asset_charts_js, asset_charts_js_end},
    {"script", asset_report_js, asset_report_js_end},
};

/* A browser looks for tags in a script element, whatever its type: in JSON, where `<` can only be
 * inside a string, it is written as its escape. */
static int append_json(const char *bytes, size_t size_bytes, void *argument)
{
    struct text *out = argument;
    for (const char *end = bytes + size_bytes; bytes < end;) {
        const char *less = memchr(bytes, '<', (size_t)(end - bytes));
        text_append(out, bytes, (size_t)((less ? less : end) - bytes));
        if (!less)
            break;
        text_add(out, "\\u003c");
        bytes = less + 1;
    }
    return 0;
}

/* What the page knows of the table of outcomes: [key, label, answered] of each. A label's words in
 * parentheses are for the terminal, which has no legend. */
static void append_outcomes(struct text *out)
{
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        const char *label = ledger_outcome_label((enum outcome)i);
        const char *end = strstr(label, " (");
        text_addf(out, "%s[\"%s\",\"%.*s\",%s]", i > 0 ? "," : "[",
                  ledger_outcome_key((enum outcome)i),
                  end ? (int)(end - label) : (int)strlen(label), label,
                  ledger_outcome_is_answered((enum outcome)i) ? "true" : "false");
    }
    text_add(out, "]");
}

static void append_part(struct text *out, const char *mark, size_t length, const json_t *run)
{
    if (length == strlen("run") && memcmp(mark, "run", length) == 0) {
        if (json_dump_callback(run, append_json, out, JSON_COMPACT | JSON_REAL_PRECISION(12)) != 0)
            out->failed = true;
        return;
    }
    if (length == strlen("outcomes") && memcmp(mark, "outcomes", length) == 0) {
        append_outcomes(out);
        return;
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strlen(parts[i].mark) == length && memcmp(parts[i].mark, mark, length) == 0) {
            text_append(out, parts[i].bytes, (size_t)(parts[i].end - parts[i].bytes));
            return;
        }
    assert(false && "the template has a mark that nothing stands for");
}

void report_html_write(struct text *out, const json_t *run)
{
    const char *at = asset_report_html;
    const char *end = asset_report_html_end;
    for (;;) {
        const char *mark = memmem(at, (size_t)(end - at), MARK_BEGIN, strlen(MARK_BEGIN));
        text_append(out, at, (size_t)((mark ? mark : end) - at));
        if (!mark)
            return;
        mark += strlen(MARK_BEGIN);
        at = memmem(mark, (size_t)(end - mark), MARK_END, strlen(MARK_END));
        assert(at);
        append_part(out, mark, (size_t)(at - mark), run);
        at += strlen(MARK_END);
    }
}
