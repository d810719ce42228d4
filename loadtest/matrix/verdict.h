/*
 * What a cell of the matrix came to: its figures, whether it came out as the physics says, and what
 * happened in a sentence.
 */
#ifndef FLASHOVER_LOADTEST_MATRIX_VERDICT_H
#define FLASHOVER_LOADTEST_MATRIX_VERDICT_H

#include "common/text.h"
#include "loadtest/matrix/matrix.h"

/* p99 of the service's SLO, and what the fixed cell should stay under. */
#define MATRIX_SLO_P99_MS  200
#define MATRIX_GOAL_P99_MS 50

void matrix_figures_take(struct matrix_figures *figures, const struct load_result *result);

/* Writes to cell->failure which expectation did not come true:
 * - no cell answers anything wrong;
 * - unsafe+per_item crashes at least once;
 * - mutex+per_item does not crash, runs out of connections, and both of the
 *   incident's messages are seen (in answers, or in the service's count of failed items);
 * - batched answers everything right and does not crash; with the mutex p99 keeps the SLO. */
void matrix_cell_judge(struct matrix_cell *cell);

/* Appends the sentence that says what happened in the cell. */
void matrix_cell_explain(struct text *out, const struct matrix_cell *cell,
                         const struct load_settings *settings);

#endif
