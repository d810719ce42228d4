/* T1 to T4: what callers wait when a server stalls, drains, is overloaded, or does not answer. The
 * formulas have s for the service time, S for the stall, D for the duration, q for the quantile. */
#include "common/check.h"
#include "common/clock.h"
#include "loadtest/run_report.h"
#include "loadtest/selftest.h"
#include "loadtest/selftest_load.h"
#include "loadtest/selftest_scenes.h"

#include <math.h>

/* A percentile falls upon one request or its neighbour, which a gap of the schedule (10 ms) lies
 * between; the rest is for the machine. */
#define TOLERANCE_MS (10.0 + 5.0)
#define MEAN_MS      5.0

static void near_percentiles(struct selftest_table *table, const struct histogram *histogram,
                             const double (*figures)[2], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[SELFTEST_CELL];
        snprintf(name, sizeof name, "p%g", figures[i][0]);
        selftest_near(table, name, figures[i][1], TOLERANCE_MS,
                      selftest_percentile_ms(histogram, figures[i][0]), "ms");
    }
}

/* What ten callers who each wait for their answer see of the same stall: ten slow requests, among
 * as many fast ones as the server's speed allows. */
static void closed_callers(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    const struct selftest_load load = {.scene = &selftest_scene_stall,
                                       .rate_per_s = 100,
                                       .duration_s = 10,
                                       .timeout_s = 5,
                                       .closed = 10};
    if (selftest_load_run(&load, stop, table, &run))
        return;
    const struct load_stats *stats = run.result.stats;
    selftest_between(table, "a closed loop would say: p99", 1, 10,
                     selftest_percentile_ms(&stats->response_all, 99), "ms");
    selftest_near(table, "  max", 1001, TOLERANCE_MS,
                  selftest_percentile_ms(&stats->response_all, 100), "ms");
    selftest_between(table, "  requests longer than 500 ms", 1, 10,
                     (double)selftest_longer_than(&stats->response_all, 500000), "");
    selftest_run_free(&run);
}

/* L(q) = s + S - (1-q) D for q > 1 - S/D; mean s + S^2/(2D). */
void selftest_t1(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    const struct selftest_load load = {
        .scene = &selftest_scene_stall, .rate_per_s = 100, .duration_s = 10, .timeout_s = 5};
    static const double figures[][2] = {{95, 501}, {99, 901}, {99.9, 1001}, {100, 1001}};
    if (selftest_load_run(&load, stop, table, &run))
        return;
    const struct load_stats *stats = run.result.stats;
    const struct histogram *response = &stats->response_all;
    selftest_count(table, "requests, none invented or left out", 1000, response->count);
    selftest_count(table, "  of them right", 1000, stats->ledger.outcomes[OUTCOME_OK]);
    selftest_near(table, "mean", 51.5, MEAN_MS, selftest_mean_ms(response), "ms");
    near_percentiles(table, response, figures, sizeof figures / sizeof figures[0]);
    selftest_between(table, "p99 / p50", 500, INFINITY,
                     selftest_percentile_ms(response, 99) / selftest_percentile_ms(response, 50),
                     "");
    selftest_run_free(&run);
    closed_callers(table, stop);
}

/* With r = rate / capacity: L(q) = s + S - (1-q) D (1-r); mean s + S^2 / (2 (1-r) D); a share of
 * S / ((1-r) D) is affected. Here r is 1/2. */
void selftest_t2(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    const struct selftest_load load = {
        .scene = &selftest_scene_drain, .rate_per_s = 50, .duration_s = 10, .timeout_s = 5};
    static const double figures[][2] = {{50, 10}, {90, 510}, {95, 760}, {99, 960}, {100, 1010}};
    if (selftest_load_run(&load, stop, table, &run))
        return;
    const struct histogram *response = &run.result.stats->response_all;
    selftest_count(table, "requests", 500, response->count);
    selftest_near(table, "mean", 110, MEAN_MS, selftest_mean_ms(response), "ms");
    near_percentiles(table, response, figures, sizeof figures / sizeof figures[0]);
    selftest_near(table, "affected by the stall", 20, 1,
                  100 * (double)selftest_longer_than(response, 15000) / (double)response->count,
                  "%");
    selftest_run_free(&run);
}

/* How many requests were in flight at a moment that is the edge of a slot of the timeline. */
static double in_flight_at(const struct load_stats *stats, int64_t at_ns)
{
    double in_flight = 0;
    for (unsigned i = 0; i < timeline_slot_at(&stats->timeline, at_ns); i++) {
        const struct timeline_slot *slot = &stats->timeline.slots[i];
        in_flight += slot->scheduled;
        for (size_t outcome = 0; outcome < OUTCOME_COUNT; outcome++)
            in_flight -= slot->outcomes[outcome];
    }
    return in_flight;
}

/* Capacity 100/s, offered 150/s: L(t) = s + t/2, until the last one, due at 20 s, waits 10 s. Who
 * gives up after 2 s was due after 3.8 s, and his request is served all the same: that is how the
 * goodput collapses, 570 to 580 right answers of 3,000. */
void selftest_t3(struct selftest_table *table, const struct stop *stop)
{
    enum { PATIENT, IMPATIENT, RUNS };
    struct selftest_run runs[RUNS];
    struct selftest_load loads[RUNS];
    static const double figures[][2] = {{50, 5070}, {90, 9070}, {99, 9970}, {100, 10070}};
    loads[PATIENT] = (struct selftest_load){
        .scene = &selftest_scene_overload, .rate_per_s = 150, .duration_s = 20, .timeout_s = 60};
    loads[IMPATIENT] = loads[PATIENT];
    loads[IMPATIENT].timeout_s = 2;
    if (selftest_load_run_all(loads, RUNS, stop, table, runs))
        return;
    const struct load_stats *stats = runs[PATIENT].result.stats;
    const struct histogram *response = &stats->response_all;
    double elapsed_s = (double)runs[PATIENT].result.elapsed_ns / (double)CLOCK_NS_PER_S;
    selftest_count(table, "requests", 3000, response->count);
    selftest_near(table, "offered", 150, 0,
                  (double)stats->ledger.scheduled / runs[PATIENT].settings.schedule.duration_s,
                  "/s");
    selftest_near(table, "achieved", 99.8, 0.2, (double)ledger_answered(&stats->ledger) / elapsed_s,
                  "/s");
    selftest_near(table, "last answer", 30060, TOLERANCE_MS, 1e3 * elapsed_s, "ms");
    selftest_near(table, "mean", 5080, TOLERANCE_MS, selftest_mean_ms(response), "ms");
    near_percentiles(table, response, figures, sizeof figures / sizeof figures[0]);
    /* The backlog grows by 50/s, to 1,000; ten more are being served. */
    selftest_near(table, "in flight after 20 s", 1010, 5, in_flight_at(stats, 20 * CLOCK_NS_PER_S),
                  "");

    const struct ledger *impatient = &runs[IMPATIENT].result.stats->ledger;
    selftest_between(table, "right within a timeout of 2 s", 570, 580,
                     (double)impatient->outcomes[OUTCOME_OK], "");
    selftest_count(table, "  right and timed out", 3000,
                   impatient->outcomes[OUTCOME_OK] + impatient->outcomes[OUTCOME_TIMEOUT]);
    for (size_t i = 0; i < RUNS; i++)
        selftest_run_free(&runs[i]);
}

void selftest_t4(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    char words[RUN_REPORT_LATENCY_SIZE];
    const struct selftest_load load = {
        .scene = &selftest_scene_hole, .rate_per_s = 200, .duration_s = 5, .timeout_s = 2};
    if (selftest_load_run(&load, stop, table, &run))
        return;
    const struct load_stats *stats = run.result.stats;
    const struct ledger *ledger = &stats->ledger;
    selftest_count(table, "requests", 1000, stats->response_all.count);
    selftest_count(table, "timeouts, 1 %", 10, ledger->outcomes[OUTCOME_TIMEOUT]);
    selftest_count(table, "  as the server has it", run.record->by_kind[STALL_HOLE],
                   ledger->outcomes[OUTCOME_TIMEOUT]);
    selftest_count(table, "right answers", 990, ledger->outcomes[OUTCOME_OK]);
    selftest_words(table, "p99 is known", "yes", load_stats_is_censored(stats, 99) ? "no" : "yes");
    run_report_latency(words, &stats->response_all, 99.5, load_stats_is_censored(stats, 99.5));
    selftest_words(table, "p99.5", ">=2.00 s", words);
    run_report_latency(words, &stats->response_all, 100, load_stats_is_censored(stats, 100));
    selftest_words(table, "max", ">=2.00 s", words);
    selftest_words(table, "books", "balance", run.result.balanced ? "balance" : "do not");
    selftest_run_free(&run);
}
