/*
 * A run as one HTML file that opens without a network: page, style, scripts, Chart.js and the run's
 * JSON are all in it.
 */
#ifndef FLASHOVER_LOADTEST_REPORT_REPORT_HTML_H
#define FLASHOVER_LOADTEST_REPORT_REPORT_HTML_H

#include "common/text.h"

#include <jansson.h>

/* Appends the page to `out`, 250 kB and the JSON. `run` is what run_json_build() returns; nothing
 * in it, whatever a server sent, can end the element that it stands in. Without memory,
 * out->failed. */
void report_html_write(struct text *out, const json_t *run);

#endif
