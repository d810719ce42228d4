/*
 * The matrix: the same load four times, with the bug and the fix of query and map in all
 * combinations, on a running service whose toggles are set for each cell and put back at the end.
 */
#ifndef FLASHOVER_LOADTEST_MATRIX_MATRIX_H
#define FLASHOVER_LOADTEST_MATRIX_MATRIX_H

#include "loadtest/engine/load_run.h"
#include "loadtest/judge/test_plan.h"
#include "loadtest/plan/prediction.h"

#include <stdbool.h>

#define MATRIX_CELLS       4
#define MATRIX_REASON_SIZE 200

struct matrix_cell_kind {
    const char *query;
    const char *map;
    const char *name;
    bool per_item;
    bool unsafe;
};

/* In the order in which they run. */
extern const struct matrix_cell_kind matrix_cell_kinds[MATRIX_CELLS];

/* A cell's outcome, boiled down to what the table shows. */
struct matrix_figures {
    uint64_t scheduled;
    uint64_t ok;
    uint64_t wrong;
    uint64_t pool_timeouts;   /* answers with the incident's first message */
    uint64_t write_deadlines; /* and with its second one */
    uint64_t read_deadlines;
    uint64_t other_errors;
    uint64_t refused_or_reset;
    unsigned crashes;
    int64_t first_pool_timeout_ns; /* after the start of the load; CLOCK_NEVER: none */
};

struct matrix_cell {
    const struct matrix_cell_kind *kind;
    bool done; /* the rest is valid; owned until matrix_free */
    struct load_result result;
    struct matrix_figures figures;
    struct prediction nominal;  /* from the query latency that the service is set to */
    struct prediction measured; /* from the mean time a connection was used in this cell */
    double nominal_hold_s;
    double measured_hold_s;
    char failure[MATRIX_REASON_SIZE]; /* the expectation that did not come true; "" when all did */
};

struct matrix {
    struct test_plan plan; /* the same for each cell */
    const char *admin_url;
    const char *admin_token_file; /* or NULL */
    struct matrix_cell cells[MATRIX_CELLS];
};

/* Runs all cells (until `stop`), then puts the toggles back. Progress goes to stderr. True when
 * each cell ran; else false with the reason in `why`, also when stopped: cells that are done stay
 * valid. */
bool matrix_run(struct matrix *matrix, struct stop *stop, char *why, size_t why_size)
    __attribute__((warn_unused_result));

void matrix_free(struct matrix *matrix);

#endif
