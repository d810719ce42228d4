#include "loadtest/matrix/matrix.h"

#include "common/check.h"
#include "common/client/readiness.h"
#include "common/client/toggle_client.h"
#include "common/clock.h"
#include "loadtest/matrix/verdict.h"
#include "loadtest/report/live_view.h"

#include <inttypes.h>
#include <math.h>

#define READY_NS   (30 * CLOCK_NS_PER_S)
#define RESTORE_NS (15 * CLOCK_NS_PER_S)

const struct matrix_cell_kind matrix_cell_kinds[MATRIX_CELLS] = {
    {.query = "per_item",
     .map = "unsafe",
     .name = "unsafe+per_item",
     .per_item = true,
     .unsafe = true},
    {.query = "per_item", .map = "mutex", .name = "mutex+per_item", .per_item = true},
    {.query = "batched", .map = "unsafe", .name = "unsafe+batched", .unsafe = true},
    {.query = "batched", .map = "mutex", .name = "mutex+batched"},
};

/* What the cells have in common while they run. */
struct matrix_session {
    struct matrix *matrix;
    struct stop *stop;
    struct readiness readiness;
};

static void take_cell(struct matrix *matrix, struct matrix_cell *cell)
{
    assert(!cell->done);
    const struct service_sample *last = &cell->result.service.last;
    bool known = cell->result.has_service;
    cell->nominal_hold_s = known ? last->query_latency_s : (double)NAN;
    cell->measured_hold_s = scrape_mean_use_s(&cell->result.service);
    struct prediction_input input = {
        .pool_size = known ? last->pool_max : (double)NAN,
        .items = matrix->plan.load.items,
        .hold_s = cell->nominal_hold_s,
        .request_timeout_s = known ? last->request_timeout_s : (double)NAN,
        .rate_per_s = schedule_mean_rate(&matrix->plan.load.schedule),
        .per_item = cell->kind->per_item,
        .processors = (double)NAN,
        .processor_s = (double)NAN,
    };
    cell->nominal = prediction_compute(&input);
    input.hold_s = cell->measured_hold_s;
    cell->measured = prediction_compute(&input);
    matrix_figures_take(&cell->figures, &cell->result);
    cell->done = true;
    matrix_cell_judge(cell);
}

static bool run_cell(struct matrix_session *session, struct matrix_cell *cell, char *why,
                     size_t why_size)
{
    struct matrix *matrix = session->matrix;
    const struct toggle_values wanted = {
        .query = cell->kind->query, .map = cell->kind->map, .admission = "blind"};
    char label[64];
    if (!readiness_wait(&session->readiness, why, why_size) ||
        !toggle_client_set(session->readiness.admin, &wanted, session->stop,
                           clock_now_ns() + READY_NS, why, why_size))
        return false;
    struct scrape *scrape =
        scrape_start(matrix->admin_url, matrix->admin_token_file, session->stop, why, why_size);
    if (!scrape)
        return false;
    snprintf(label, sizeof label, "%-16s ", cell->kind->name);
    struct live_view view;
    struct load_watch watch = live_view_watch(&view, label);
    bool done = load_run_execute(&matrix->plan.load, scrape, READY_NS, session->stop, &watch,
                                 &cell->result, why, why_size);
    live_view_clear(&view);
    if (!done)
        return false;
    take_cell(matrix, cell);
    fprintf(stderr, "%s done: %" PRIu64 " of %" PRIu64 " right, %u crash%s\n", label,
            cell->figures.ok, cell->figures.scheduled, cell->figures.crashes,
            cell->figures.crashes == 1 ? "" : "es");
    if (stop_requested(session->stop)) {
        snprintf(why, why_size, "stopped by a signal");
        return false;
    }
    return true;
}

static bool run_cells(struct matrix_session *session, char *why, size_t why_size)
{
    struct matrix *matrix = session->matrix;
    struct toggle_state before;
    if (!readiness_wait(&session->readiness, why, why_size) ||
        !toggle_client_get(session->readiness.admin, &before, why, why_size))
        return false;
    bool done = true;
    for (size_t i = 0; done && i < MATRIX_CELLS; i++)
        done = run_cell(session, &matrix->cells[i], why, why_size);
    const struct toggle_values values = {
        .query = before.query, .map = before.map, .admission = before.admission};
    char restore_why[256];
    /* No stop: putting things back is what a stop still has to wait for. */
    if (!toggle_client_set(session->readiness.admin, &values, NULL, clock_now_ns() + RESTORE_NS,
                           restore_why, sizeof restore_why)) {
        fprintf(stderr,
                "loadtest matrix: the toggles could not be put back to query=%s map=%s "
                "admission=%s: %s\n",
                before.query, before.map, before.admission, restore_why);
        if (done)
            snprintf(why, why_size, "the toggles could not be put back");
        done = false;
    }
    return done;
}

bool matrix_run(struct matrix *matrix, struct stop *stop, char *why, size_t why_size)
{
    struct matrix_session session = {.matrix = matrix, .stop = stop};
    for (size_t i = 0; i < MATRIX_CELLS; i++)
        matrix->cells[i].kind = &matrix_cell_kinds[i];
    if (!readiness_init(&session.readiness, matrix->plan.load.target.base, matrix->admin_url,
                        matrix->admin_token_file, stop, why, why_size))
        return false;
    bool done = run_cells(&session, why, why_size);
    readiness_destroy(&session.readiness);
    return done;
}

void matrix_free(struct matrix *matrix)
{
    for (size_t i = 0; i < MATRIX_CELLS; i++)
        if (matrix->cells[i].done)
            load_result_free(&matrix->cells[i].result);
}
