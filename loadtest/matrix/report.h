/*
 * The matrix for a terminal (100 columns) and as JSON.
 */
#ifndef FLASHOVER_LOADTEST_MATRIX_REPORT_H
#define FLASHOVER_LOADTEST_MATRIX_REPORT_H

#include "common/text.h"
#include "loadtest/matrix/matrix.h"

#include <jansson.h>

/* Whether all four cells ran and came out as the physics says. */
bool matrix_report_passed(const struct matrix *matrix);

/* Appends the tables, a sentence per cell and the verdict. */
void matrix_report_write(struct text *out, const struct matrix *matrix);

/* The same as a new JSON object; NULL when memory ran out. */
json_t *matrix_report_json(const struct matrix *matrix) __attribute__((warn_unused_result));

#endif
