/* T6: the same load on average, at random (M/M/1) and evenly spaced (D/M/1), meets another queue. A
 * report that does not name its arrivals says nothing; one that does must be right. */
#include "common/check.h"
#include "common/clock.h"
#include "loadtest/queue_path.h"
#include "loadtest/run_report.h"
#include "loadtest/selftest.h"
#include "loadtest/selftest_load.h"
#include "loadtest/selftest_scenes.h"

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

/* What the server really did to each request: from the moment at which it was due to the moment at
 * which its answer was written. The server's clock and books alone, nothing that the load tester
 * measured. Arrivals are matched to the schedule by their order, which is that of the one slot. */
static int really_done(const struct selftest_run *run, int64_t *samples_ns, size_t *count)
{
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    const struct stall_record *record = run->record;
    schedule_cursor_init(&cursor, &run->settings.schedule, 0, 1);
    for (*count = 0; schedule_next(&cursor, &arrival); ++*count) {
        if (*count == record->served_count || record->served[*count].answered_ns == 0)
            return -1;
        samples_ns[*count] =
            record->served[*count].answered_ns - run->result.start_ns - arrival.at_ns;
    }
    return 0;
}

/* Theory holds for a server and a schedule that were never late; what the server's own record says
 * that they were is added to it. The rest must be explained by chance. */
static void compare(struct selftest_table *table, const char *arrivals, const char *name,
                    double theory, double on_paper, double spread, double done, double measured)
{
    char figure[2 * SELFTEST_CELL];
    char asked[3 * SELFTEST_CELL];
    char got[SELFTEST_CELL];
    double chance = DEVIATIONS * spread;
    double late = done - on_paper;
    double off = measured - theory - late;
    snprintf(figure, sizeof figure, "%s, %s: this schedule on paper", arrivals, name);
    selftest_near(table, figure, theory, chance, on_paper, "ms");
    snprintf(figure, sizeof figure, "  measured");
    snprintf(asked, sizeof asked, "%.2f %+.2f late +-%.3g", theory, late, chance);
    snprintf(got, sizeof got, "%.2f ms", measured);
    selftest_row(table, figure, asked, got, off <= chance && -off <= chance);
}

static void compare_run(struct selftest_table *table, const struct selftest_run *run,
                        const struct queue_figures *theory, const struct queue_figures *spread)
{
    const struct schedule *schedule = &run->settings.schedule;
    const struct histogram *response = &run->result.stats->response_all;
    const char *arrivals = schedule_arrivals_name(schedule->arrivals);
    struct text report = {0};
    size_t count = 0;
    int64_t *samples_ns = malloc(schedule->count * sizeof samples_ns[0]);
    if (!samples_ns) {
        selftest_trouble(table, "out of memory");
        return;
    }
    queue_path_walk(schedule, &selftest_scene_queue, samples_ns);
    struct queue_figures on_paper = queue_figures_of(samples_ns, schedule->count);
    if (really_done(run, samples_ns, &count)) {
        selftest_trouble(table, "the server did not answer all");
        free(samples_ns);
        return;
    }
    struct queue_figures done = queue_figures_of(samples_ns, count);
    free(samples_ns);
    selftest_count(table, arrivals, (uint64_t)RATE_PER_S * DURATION_S, response->count);
    compare(table, arrivals, "mean", theory->mean, on_paper.mean, spread->mean, done.mean,
            selftest_mean_ms(response));
    compare(table, arrivals, "p99", theory->p99, on_paper.p99, spread->p99, done.p99,
            selftest_percentile_ms(response, 99));
    compare(table, arrivals, "p99.9", theory->p99_9, on_paper.p99_9, spread->p99_9, done.p99_9,
            selftest_percentile_ms(response, 99.9));
    run_report_write(&report, &run->settings, &run->result);
    selftest_words(table, "  the report names them", "yes",
                   !report.failed && strstr(report.data, arrivals) ? "yes" : "no");
    text_clear(&report);
}

void selftest_t6(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run runs[2];
    struct queue_figures spread[2];
    struct selftest_load loads[2];
    int failed = 0;
    for (size_t i = 0; i < 2 && !failed; i++) {
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
        failed = queue_path_spread(&schedule, &selftest_scene_queue, SEEDS, &spread[i]);
    }
    if (failed) {
        selftest_trouble(table, "out of memory");
        return;
    }
    if (selftest_load_run_all(loads, 2, stop, table, runs))
        return;
    compare_run(table, &runs[0], &poisson, &spread[0]);
    compare_run(table, &runs[1], &constant, &spread[1]);
    for (size_t i = 0; i < 2; i++)
        selftest_run_free(&runs[i]);
}
