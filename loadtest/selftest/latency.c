/* T1 to T4: what callers wait when a server stalls, drains, is overloaded, or does not answer. The
 * formulas have s for the service time, S for the stall, D for the duration, q for the quantile. */
#include "common/check.h"
#include "common/clock.h"
#include "loadtest/report/run_report.h"
#include "loadtest/selftest/load.h"
#include "loadtest/selftest/scenes.h"
#include "loadtest/selftest/selftest.h"
#include "loadtest/selftest/truth.h"

#include <math.h>

/* A percentile falls upon one request or its neighbour, which a gap of the schedule (10 ms) lies
 * between; the rest is for the machine. */
#define TOLERANCE_MS (10.0 + 5.0)
#define MEAN_MS      5.0

static void near_mean(struct selftest_table *table, const struct histogram *histogram,
                      const struct selftest_truth *truth, double expected_ms, double tolerance_ms)
{
    selftest_near_late(table, "mean", expected_ms, selftest_late_mean_ms(truth), tolerance_ms,
                       selftest_mean_ms(histogram), "ms");
}

static void near_percentiles(struct selftest_table *table, const struct histogram *histogram,
                             const struct selftest_truth *truth, const double (*figures)[2],
                             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[SELFTEST_CELL] = "max";
        if (figures[i][0] < 100)
            snprintf(name, sizeof name, "p%g", figures[i][0]);
        selftest_near_late(table, name, figures[i][1], selftest_late_ms(truth, figures[i][0]),
                           TOLERANCE_MS, selftest_percentile_ms(histogram, figures[i][0]), "ms");
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
    if (!selftest_load_run(&load, stop, table, &run))
        return;
    const struct load_stats *stats = run.result.stats;
    selftest_between(table, "a closed loop would say: p99", 1, 10,
                     selftest_percentile_ms(&stats->response_all, 99), "ms");
    selftest_near_late(table, "  max", 1001,
                       (double)run.record->late_max_ns / (double)CLOCK_NS_PER_MS, TOLERANCE_MS,
                       selftest_percentile_ms(&stats->response_all, 100), "ms");
    selftest_between(table, "  requests longer than 500 ms", 1, 10,
                     (double)selftest_longer_than(&stats->response_all, 500000), "");
    selftest_run_free(&run);
}

/* L(q) = s + S - (1-q) D for q > 1 - S/D; mean s + S^2/(2D). */
void selftest_t1(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    const struct selftest_load load = {.scene = &selftest_scene_stall,
                                       .rate_per_s = 100,
                                       .duration_s = 10,
                                       .timeout_s = 5,
                                       .keeps_record = true};
    struct selftest_truth truth;
    static const double figures[][2] = {{95, 501}, {99, 901}, {99.9, 1001}, {100, 1001}};
    if (!selftest_load_run(&load, stop, table, &run))
        return;
    const struct load_stats *stats = run.result.stats;
    const struct histogram *response = &stats->response_all;
    selftest_count(table, "requests, none invented or left out", 1000, response->count);
    selftest_count(table, "  of them right", 1000, stats->ledger.outcomes[OUTCOME_OK]);
    if (selftest_truth_init(&truth, &run, table)) {
        near_mean(table, response, &truth, 51.5, MEAN_MS);
        near_percentiles(table, response, &truth, figures, sizeof figures / sizeof figures[0]);
        selftest_truth_free(&truth);
    }
    selftest_between(table, "p99 / p50", 500, INFINITY,
                     selftest_percentile_ms(response, 99) / selftest_percentile_ms(response, 50),
                     "");
    selftest_run_free(&run);
    closed_callers(table, stop);
}

/* T2's requests take 10 ms when the stall does not concern them. */
#define AFFECTED_NS (15 * CLOCK_NS_PER_MS)

static double longer_percent(const int64_t *sorted_ns, size_t count)
{
    return 100 * (double)samples_longer(sorted_ns, count, AFFECTED_NS) / (double)count;
}

/* With r = rate / capacity: L(q) = s + S - (1-q) D (1-r); mean s + S^2 / (2 (1-r) D); a share of
 * S / ((1-r) D) is affected. Here r is 1/2. */
void selftest_t2(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    const struct selftest_load load = {.scene = &selftest_scene_drain,
                                       .rate_per_s = 50,
                                       .duration_s = 10,
                                       .timeout_s = 5,
                                       .keeps_record = true};
    struct selftest_truth truth;
    static const double figures[][2] = {{50, 10}, {90, 510}, {95, 760}, {99, 960}, {100, 1010}};
    if (!selftest_load_run(&load, stop, table, &run))
        return;
    const struct histogram *response = &run.result.stats->response_all;
    selftest_count(table, "requests", 500, response->count);
    if (selftest_truth_init(&truth, &run, table)) {
        near_mean(table, response, &truth, 110, MEAN_MS);
        near_percentiles(table, response, &truth, figures, sizeof figures / sizeof figures[0]);
        double paper = longer_percent(truth.paper_ns, truth.count);
        double done = longer_percent(truth.done_ns, truth.count);
        selftest_near_late(table, "longer than 15 ms", 20, done - paper, 1,
                           100 * (double)selftest_longer_than(response, AFFECTED_NS / 1000) /
                               (double)response->count,
                           "%");
        selftest_truth_free(&truth);
    }
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

/* T3's figures that are no latencies, and the same by the server's books. 3,000 requests are served
 * in 30.06 s. The backlog grows by 50/s, to 1,000 at 20 s; ten more are being served. */
static void compare_rates(struct selftest_table *table, const struct selftest_run *run)
{
    const struct load_stats *stats = run->result.stats;
    const struct stall_record *record = run->record;
    double elapsed_s = (double)run->result.elapsed_ns / (double)CLOCK_NS_PER_S;
    int64_t last_ns = 0;
    double open = 0;
    for (size_t i = 0; i < record->served_count; i++) {
        int64_t at_ns = record->served[i].answered_ns - run->result.start_ns;
        if (at_ns > last_ns)
            last_ns = at_ns;
        open += at_ns > 20 * CLOCK_NS_PER_S;
    }
    double last_s = (double)last_ns / (double)CLOCK_NS_PER_S;
    selftest_near(table, "offered", 150, 0,
                  (double)stats->ledger.scheduled / run->settings.schedule.duration_s, "/s");
    selftest_near_late(table, "achieved", 99.8, 3000 / last_s - 3000 / 30.06, 0.2,
                       (double)ledger_answered(&stats->ledger) / elapsed_s, "/s");
    selftest_near_late(table, "last answer", 30060, 1e3 * last_s - 30060, TOLERANCE_MS,
                       1e3 * elapsed_s, "ms");
    selftest_near_late(table, "in flight after 20 s", 1010, open - 1010, 5,
                       in_flight_at(stats, 20 * CLOCK_NS_PER_S), "");
}

/* How many were answered in time, by the server's books; the rest it need not have got through. */
static size_t served_within(const struct selftest_run *run, int64_t timeout_ns)
{
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    const struct stall_record *record = run->record;
    size_t in_time = 0;
    schedule_cursor_init(&cursor, &run->settings.schedule, 0, 1);
    for (size_t i = 0; i < record->served_count && schedule_next(&cursor, &arrival); i++) {
        int64_t answered_ns = record->served[i].answered_ns;
        in_time += answered_ns && answered_ns - run->result.start_ns - arrival.at_ns <= timeout_ns;
    }
    return in_time;
}

/* A caller gives up after 2 s; its answer would come after 3.8 s, and the server makes it all the
 * same. That is how goodput collapses: 570 or 580 right answers of 3,000 (ten take exactly 2 s), or
 * fewer where the server's books show fewer. */
static void compare_impatient(struct selftest_table *table, const struct selftest_run *run)
{
    const struct ledger *ledger = &run->result.stats->ledger;
    double in_time = (double)served_within(run, 2 * CLOCK_NS_PER_S);
    selftest_between(table, "right within a timeout of 2 s", fmin(570, in_time - 5), 580,
                     (double)ledger->outcomes[OUTCOME_OK], "");
    selftest_count(table, "  right and timed out", 3000,
                   ledger->outcomes[OUTCOME_OK] + ledger->outcomes[OUTCOME_TIMEOUT]);
}

/* Capacity 100/s, offered 150/s: L(t) = s + t/2, until the last one, due at 20 s, waits 10 s. */
void selftest_t3(struct selftest_table *table, const struct stop *stop)
{
    enum { PATIENT, IMPATIENT, RUNS };
    struct selftest_run runs[RUNS];
    struct selftest_load loads[RUNS];
    struct selftest_truth truth;
    static const double figures[][2] = {{50, 5070}, {90, 9070}, {99, 9970}, {100, 10070}};
    loads[PATIENT] = (struct selftest_load){.scene = &selftest_scene_overload,
                                            .rate_per_s = 150,
                                            .duration_s = 20,
                                            .timeout_s = 60,
                                            .keeps_record = true};
    loads[IMPATIENT] = loads[PATIENT];
    loads[IMPATIENT].timeout_s = 2;
    if (!selftest_load_run_all(loads, RUNS, stop, table, runs))
        return;
    const struct histogram *response = &runs[PATIENT].result.stats->response_all;
    selftest_count(table, "requests", 3000, response->count);
    compare_rates(table, &runs[PATIENT]);
    if (selftest_truth_init(&truth, &runs[PATIENT], table)) {
        near_mean(table, response, &truth, 5080, TOLERANCE_MS);
        near_percentiles(table, response, &truth, figures, sizeof figures / sizeof figures[0]);
        selftest_truth_free(&truth);
    }
    compare_impatient(table, &runs[IMPATIENT]);
    for (size_t i = 0; i < RUNS; i++)
        selftest_run_free(&runs[i]);
}

void selftest_t4(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    char words[RUN_REPORT_LATENCY_SIZE];
    const struct selftest_load load = {
        .scene = &selftest_scene_hole, .rate_per_s = 200, .duration_s = 5, .timeout_s = 2};
    if (!selftest_load_run(&load, stop, table, &run))
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
