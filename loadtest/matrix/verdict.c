#include "loadtest/matrix/verdict.h"

#include "common/check.h"
#include "common/clock.h"
#include "loadtest/judge/verdict.h"
#include "loadtest/report/run_report.h"

#include <inttypes.h>
#include <math.h>

void matrix_figures_take(struct matrix_figures *figures, const struct load_result *result)
{
    const struct load_stats *stats = result->stats;
    const uint64_t *outcomes = stats->ledger.outcomes;
    int64_t ignored_ns;
    *figures = (struct matrix_figures){
        .scheduled = stats->ledger.scheduled,
        .ok = outcomes[OUTCOME_OK],
        .wrong = outcomes[OUTCOME_WRONG],
        .refused_or_reset = ledger_in_class(&stats->ledger, OUTCOME_CLASS_CONNECTION),
        .crashes = result->has_service ? result->service.restarts : 0,
    };
    figures->pool_timeouts = error_table_matching(&stats->errors, MESSAGE_CHECKOUT_TIMEOUT,
                                                  &figures->first_pool_timeout_ns);
    figures->write_deadlines =
        error_table_matching(&stats->errors, MESSAGE_WRITE_DEADLINE, &ignored_ns);
    figures->read_deadlines =
        error_table_matching(&stats->errors, MESSAGE_READ_DEADLINE, &ignored_ns);
    /* a message may have two of the phrases */
    uint64_t known = figures->ok + figures->wrong + figures->pool_timeouts +
                     figures->write_deadlines + figures->read_deadlines + figures->refused_or_reset;
    figures->other_errors = figures->scheduled > known ? figures->scheduled - known : 0;
}

/* Whether one of the incident's messages was seen: by a caller, or by the service alone (an answer
 * carries only the earliest of its items' failures). */
static bool was_seen(uint64_t answers, const struct load_result *result, enum item_failure kind)
{
    return answers > 0 || (result->has_service && result->service.item_failures[kind] > 0);
}

static void judge_per_item_mutex(struct matrix_cell *cell, char *out, size_t size)
{
    const struct matrix_figures *figures = &cell->figures;
    if (figures->crashes > 0 || cell->result.service.down_at_end)
        snprintf(out, size, "expected no crash, saw %u", figures->crashes);
    else if (!was_seen(figures->pool_timeouts, &cell->result, ITEM_FAILURE_CHECKOUT_TIMEOUT))
        snprintf(out, size, "expected pool timeouts, saw none: the pool was large enough");
    else if (!was_seen(figures->write_deadlines, &cell->result, ITEM_FAILURE_WRITE_DEADLINE))
        snprintf(out, size, "expected 'failed to write: context deadline exceeded', saw none");
}

static void judge_batched(struct matrix_cell *cell, char *out, size_t size)
{
    const struct matrix_figures *figures = &cell->figures;
    double p99_ms = (double)histogram_percentile_us(&cell->result.stats->response_all, 99) / 1000;
    if (figures->crashes > 0 || cell->result.service.down_at_end)
        snprintf(out, size, "expected no crash, saw %u", figures->crashes);
    else if (figures->ok != figures->scheduled)
        snprintf(out, size, "expected every answer to be right, saw %" PRIu64 " of %" PRIu64,
                 figures->ok, figures->scheduled);
    else if (!cell->kind->unsafe && p99_ms > MATRIX_SLO_P99_MS)
        snprintf(out, size, "expected p99 within the SLO of %d ms, saw %.0f ms", MATRIX_SLO_P99_MS,
                 p99_ms);
}

void matrix_cell_judge(struct matrix_cell *cell)
{
    assert(cell->figures.ok + cell->figures.wrong <= cell->figures.scheduled);
    cell->failure[0] = '\0';
    if (!cell->result.balanced)
        snprintf(cell->failure, sizeof cell->failure, "the books do not balance: %s",
                 cell->result.imbalance);
    else if (cell->result.stop_reason)
        snprintf(cell->failure, sizeof cell->failure, "stopped before its end");
    else if (!cell->result.has_service)
        snprintf(cell->failure, sizeof cell->failure, "the admin port never answered");
    else if (cell->figures.wrong > 0)
        snprintf(cell->failure, sizeof cell->failure, "expected no wrong answer, saw %" PRIu64,
                 cell->figures.wrong);
    else if (!cell->kind->per_item)
        judge_batched(cell, cell->failure, sizeof cell->failure);
    else if (!cell->kind->unsafe)
        judge_per_item_mutex(cell, cell->failure, sizeof cell->failure);
    else if (cell->figures.crashes == 0)
        snprintf(cell->failure, sizeof cell->failure,
                 "expected a crash, and the process stayed the same");
}

static void explain_crash(struct text *out, const struct matrix_cell *cell)
{
    const struct matrix_figures *figures = &cell->figures;
    if (figures->crashes == 0) {
        text_add(out, "No crash: in this run no two threads were seen writing to a map at once. ");
        return;
    }
    text_addf(out,
              "The process died %u time%s. Two threads that write to this map at the same time end "
              "it, and each death's last words are in its log. %" PRIu64 " of %" PRIu64
              " requests were cut off or found nobody there; ",
              figures->crashes, figures->crashes == 1 ? "" : "s", figures->refused_or_reset,
              figures->scheduled);
    if (figures->ok == 0)
        text_add(out, "none got through.");
    else
        text_addf(out, "%" PRIu64 " got through.", figures->ok);
}

static void explain_starvation(struct text *out, const struct matrix_cell *cell,
                               const struct load_settings *settings)
{
    const struct matrix_figures *figures = &cell->figures;
    const struct service_sample *last = &cell->result.service.last;
    uint64_t starved = figures->pool_timeouts + figures->write_deadlines + figures->read_deadlines;
    if (figures->crashes > 0)
        text_addf(out, "The process died %u times, with the lock in place. ", figures->crashes);
    else
        text_add(out, "The lock keeps the process alive, but not the service: ");
    if (starved == 0) {
        text_add(out, "no answer spoke of the pool.");
        return;
    }
    text_addf(out,
              "%u checkouts a request emptied the pool of %.0f, and %" PRIu64 " of %" PRIu64
              " requests waited out their %.3g s deadline",
              settings->items + 1, last->pool_max, starved, figures->scheduled,
              last->request_timeout_s);
    if (figures->first_pool_timeout_ns != CLOCK_NEVER)
        text_addf(out, ", the first after %.1f s",
                  (double)figures->first_pool_timeout_ns / (double)CLOCK_NS_PER_S);
    if (isfinite(cell->measured.capacity_per_s))
        text_addf(out,
                  ". It can do %.1f req/s, got %.4g and answered %.1f: the rest of its work went "
                  "into requests that failed in the end",
                  cell->measured.capacity_per_s, schedule_mean_rate(&settings->schedule),
                  (double)figures->ok / settings->schedule.duration_s);
    text_add(out, ".");
}

static void explain_batched(struct text *out, const struct matrix_cell *cell)
{
    const struct matrix_figures *figures = &cell->figures;
    char p99[RUN_REPORT_LATENCY_SIZE];
    run_report_latency(p99, &cell->result.stats->response_all, 99,
                       load_stats_is_censored(cell->result.stats, 99));
    if (figures->ok != figures->scheduled || figures->crashes > 0) {
        text_addf(out, "Not as it should be: %" PRIu64 " of %" PRIu64 " right, %u crashes.",
                  figures->ok, figures->scheduled, figures->crashes);
        return;
    }
    text_addf(out, "All %" PRIu64 " answers were right, p99 %s", figures->ok, p99);
    if (!isnan(cell->result.service.pool_used_peak))
        text_addf(out, ": one checkout a request, at most %.0f of %.0f connections seen in use",
                  cell->result.service.pool_used_peak, cell->result.service.last.pool_max);
    text_add(out, ".");
    if (cell->kind->unsafe)
        text_add(out, " The map still has no lock: with one writer the bug is asleep, not gone.");
    else if (histogram_percentile_us(&cell->result.stats->response_all, 99) >
             MATRIX_GOAL_P99_MS * CLOCK_NS_PER_MS / CLOCK_NS_PER_US)
        text_addf(out, " (The goal for p99 is %d ms.)", MATRIX_GOAL_P99_MS);
}

void matrix_cell_explain(struct text *out, const struct matrix_cell *cell,
                         const struct load_settings *settings)
{
    if (!cell->kind->per_item)
        explain_batched(out, cell);
    else if (cell->kind->unsafe)
        explain_crash(out, cell);
    else
        explain_starvation(out, cell, settings);
}
