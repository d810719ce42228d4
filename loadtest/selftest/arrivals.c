/* T6: the same load on average, at random (M/M/1) and evenly spaced (D/M/1), meets another queue. A
 * report that does not name its arrivals says nothing; one that does must be right. */
#include "common/check.h"
#include "common/clock.h"
#include "loadtest/report/run_report.h"
#include "loadtest/selftest/load.h"
#include "loadtest/selftest/queue_path.h"
#include "loadtest/selftest/scenes.h"
#include "loadtest/selftest/selftest.h"
#include "loadtest/selftest/truth.h"
#include "loadtest/selftest/wire.h"

#include <math.h>
#include <sched.h>

#define RATE_PER_S 500
#define DURATION_S 40 /* 20,000 requests */
#define SEEDS      100
/* 99.9 % of a normal distribution lies within so many standard deviations. */
#define DEVIATIONS 3.29

/* At half of the capacity of 1,000/s. M/M/1: response times are exponential with mean 1 / (capacity
 * - rate). D/M/1: with mean 1 / (capacity (1 - x)), where x = exp(-(1 - x) capacity / rate) is
 * 0.2032 (Kleinrock, Queueing Systems, volume 1, 1975, chapters 3 and 6). The p-th percentile of
 * one is -ln(1 - p) times its mean. */
static const struct queue_figures poisson = {2.0, 9.21, 13.82};
static const struct queue_figures constant = {1.255, 5.78, 8.67};

/* Theory holds for a server and a schedule that were never late, and for answers that are there
 * when they are written. What the server's own record says that they were late, and what the way
 * takes a plain caller's answers, is added to it. The rest must be explained by chance. */
static void compare(struct selftest_table *table, const char *name, double theory, double spread,
                    double on_paper, double late, double measured)
{
    char figure[SELFTEST_CELL];
    double chance = DEVIATIONS * spread;
    snprintf(figure, sizeof figure, "  %s of this schedule, on paper", name);
    selftest_near(table, figure, theory, chance, on_paper, "ms");
    snprintf(figure, sizeof figure, "  %s, with what was late", name);
    selftest_near_late(table, figure, theory, late, chance, measured, "ms");
}

static void compare_run(struct selftest_table *table, const struct selftest_run *run,
                        const struct queue_figures *theory, const struct queue_figures *spread,
                        double wire_ms)
{
    const struct histogram *response = &run->result.stats->response_all;
    const char *arrivals = schedule_arrivals_name(run->settings.schedule.arrivals);
    char figure[SELFTEST_CELL];
    struct selftest_truth truth;
    struct text report = {0};
    if (!selftest_truth_init(&truth, run, table))
        return;
    snprintf(figure, sizeof figure, "%s arrivals: requests", arrivals);
    selftest_count(table, figure, (uint64_t)RATE_PER_S * DURATION_S, response->count);
    compare(table, "mean", theory->mean, spread->mean, samples_mean_ms(truth.paper_ns, truth.count),
            selftest_late_mean_ms(&truth) + wire_ms, selftest_mean_ms(response));
    compare(table, "p99", theory->p99, spread->p99,
            samples_percentile_ms(truth.paper_ns, truth.count, 99),
            selftest_late_ms(&truth, 99) + wire_ms, selftest_percentile_ms(response, 99));
    compare(table, "p99.9", theory->p99_9, spread->p99_9,
            samples_percentile_ms(truth.paper_ns, truth.count, 99.9),
            selftest_late_ms(&truth, 99.9) + wire_ms, selftest_percentile_ms(response, 99.9));
    const struct test_plan plan = {.load = run->settings}; /* without thresholds */
    run_report_write(&report, &plan, &run->result);
    selftest_words(table, "  named in the report", "yes",
                   !report.failed && strstr(report.data, arrivals) ? "yes" : "no");
    text_clear(&report);
    selftest_truth_free(&truth);
}

/* The test is about single milliseconds, which a busy machine keeps any thread waiting for. Where
 * the kernel lets us, the threads that this one starts from now on go before all others; they need
 * a sixth of a core. Elsewhere the test runs as well, and has to be repeated more often. */
static void hurry(bool now)
{
    const struct sched_param first = {.sched_priority = now ? 1 : 0};
    sched_setscheduler(0, now ? SCHED_RR : SCHED_OTHER, &first);
}

void selftest_t6(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run runs[2];
    struct queue_figures spread[2];
    struct selftest_load loads[2];
    bool done = true;
    for (size_t i = 0; i < 2 && done; i++) {
        struct schedule schedule;
        loads[i] = (struct selftest_load){.scene = &selftest_scene_queue,
                                          .rate_per_s = RATE_PER_S,
                                          .duration_s = DURATION_S,
                                          .timeout_s = 60,
                                          .arrivals = i == 0 ? ARRIVALS_POISSON : ARRIVALS_CONSTANT,
                                          .seed = 66,
                                          .keeps_record = true};
        schedule_init(&schedule, RATE_PER_S, DURATION_S, loads[i].seed);
        schedule_set_arrivals(&schedule, loads[i].arrivals);
        done = queue_path_spread(&schedule, &selftest_scene_queue, SEEDS, &spread[i]);
    }
    if (!done) {
        selftest_trouble(table, "out of memory");
        return;
    }
    char why[SELFTEST_WHY];
    double wire_ms = NAN;
    hurry(true);
    struct selftest_wire *wire = selftest_wire_start(why, sizeof why);
    done = selftest_load_run_all(loads, 2, stop, table, runs);
    if (wire)
        wire_ms = selftest_wire_finish_ms(wire);
    else
        selftest_trouble(table, why);
    hurry(false);
    if (!done)
        return;
    char way[SELFTEST_CELL];
    snprintf(way, sizeof way, "%.3f ms", wire_ms);
    selftest_row(table, "the way back, by a plain caller", "under 1 ms", way, wire_ms < 1);
    compare_run(table, &runs[0], &poisson, &spread[0], wire_ms);
    compare_run(table, &runs[1], &constant, &spread[1], wire_ms);
    for (size_t i = 0; i < 2; i++)
        selftest_run_free(&runs[i]);
}
