/*
 * A run as one HTML page that needs nothing beside itself.
 */
#ifndef FLASHOVER_LOADTEST_REPORT_HTML_H
#define FLASHOVER_LOADTEST_REPORT_HTML_H

#include "common/text.h"

#include <jansson.h>

/* Appends the page of `run`, a result as run_json_build() makes it. */
void report_html_write(struct text *out, const json_t *run);

#endif
