#include "loadtest/report_html.h"

#include <stdlib.h>

static void add_escaped(struct text *out, const char *string)
{
    for (; *string; string++) {
        if (*string == '<')
            text_add(out, "&lt;");
        else if (*string == '&')
            text_add(out, "&amp;");
        else
            text_append(out, string, 1);
    }
}

/* The figures as they are; the page with diagrams takes this one's place. */
void report_html_write(struct text *out, const json_t *run)
{
    char *figures = json_dumps(run, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    text_add(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                  "<title>Load test</title></head>\n<body><pre>");
    add_escaped(out, figures ? figures : "out of memory");
    text_add(out, "</pre></body></html>\n");
    free(figures);
}
