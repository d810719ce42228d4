#include "loadtest/report_html.h"

#include "common/check.h"

#define MARK_BEGIN "{{"
#define MARK_END   "}}"

/* From report/assets.S. */
#define ASSET(name)                                                                                \
    extern const char asset_##name[];                                                              \
    extern const char asset_##name##_end[]
ASSET(report_html);
ASSET(report_css);
ASSET(charts_js);
ASSET(report_js);
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

static void append_part(struct text *out, const char *mark, size_t length, const json_t *run)
{
    if (length == strlen("run") && memcmp(mark, "run", length) == 0) {
        if (json_dump_callback(run, append_json, out, JSON_COMPACT | JSON_REAL_PRECISION(12)) != 0)
            out->failed = true;
        return;
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strlen(parts[i].mark) == length && memcmp(parts[i].mark, mark, length) == 0) {
            text_append(out, parts[i].bytes, (size_t)(parts[i].end - parts[i].bytes));
            return;
        }
    assert(!"the template has a mark that nothing stands for");
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
