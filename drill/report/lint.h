/*
 * The lint of a postmortem. Errors are facts that are missing or that the record contradicts;
 * warnings are sentences that blame.
 */
#ifndef FLASHOVER_DRILL_REPORT_LINT_H
#define FLASHOVER_DRILL_REPORT_LINT_H

#include "drill/report/replay.h"

#include <stdio.h>

struct lint_result {
    unsigned errors, warnings;
};

/* Reads a postmortem's text and writes a line for each finding to `out`: "NAME:LINE: error: …".
 * `name` is what its lines call it. `replay`: the record that its times are held against; NULL:
 * none.
 *
 * Errors: a section that is missing, an action without type, owner or date (YYYY-MM-DD), a time
 * that differs from the record's. Warnings, outside of code and quotes: a person or a role with
 * should have, could have, forgot or failed to; participants' names. A line with "lint: ok" is left
 * alone. */
struct lint_result lint_postmortem(const char *text, const char *name, const struct replay *replay,
                                   FILE *out);

#endif
