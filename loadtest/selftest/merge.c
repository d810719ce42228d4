/* T8: histograms of several threads, added up, are the histogram of all samples. */
#include "common/check.h"
#include "common/clock.h"
#include "common/random.h"
#include "loadtest/selftest/load.h"
#include "loadtest/selftest/scenes.h"
#include "loadtest/selftest/selftest.h"

#include <inttypes.h>

#define THREADS            4
#define SAMPLES_PER_THREAD 250000

/* Samples of the sort that latencies are: from 1 us to beyond the highest, few of them long. */
static int64_t sample_us(uint64_t number)
{
    uint64_t z = random_at(0, number);
    return (int64_t)((z & 0x7ffffff) >> (z >> 59)); /* up to 134 s */
}

struct recorder {
    struct histogram histogram;
    uint64_t first;
    pthread_t thread;
};

static void *record_samples(void *argument)
{
    struct recorder *recorder = argument;
    for (uint64_t i = 0; i < SAMPLES_PER_THREAD; i++)
        histogram_record_us(&recorder->histogram, sample_us(recorder->first + i));
    return NULL;
}

static uint64_t different_counters(const struct histogram *left, const struct histogram *right)
{
    uint64_t different = 0;
    for (size_t i = 0; i < HISTOGRAM_COUNTERS; i++)
        different += left->counters[i] != right->counters[i];
    return different;
}

static void same_histogram(struct selftest_table *table, const char *what,
                           const struct histogram *all, const struct histogram *merged)
{
    char figure[SELFTEST_CELL];
    snprintf(figure, sizeof figure, "%s: samples", what);
    selftest_count(table, figure, all->count, merged->count);
    selftest_count(table, "  counters that differ", 0, different_counters(all, merged));
    selftest_words(table, "  sum, least, largest, clamped", "the same",
                   all->sum_us == merged->sum_us && all->min_us == merged->min_us &&
                           all->max_us == merged->max_us && all->clamped == merged->clamped
                       ? "the same"
                       : "others");
}

/* Samples that are known. */
static void known_samples(struct selftest_table *table)
{
    struct recorder *recorders = calloc(THREADS + 2, sizeof *recorders);
    unsigned started = 0;
    if (!recorders) {
        selftest_trouble(table, "out of memory");
        return;
    }
    struct histogram *all = &recorders[THREADS].histogram;
    struct histogram *merged = &recorders[THREADS + 1].histogram;
    for (; started < THREADS; started++) {
        recorders[started].first = (uint64_t)started * SAMPLES_PER_THREAD;
        if (pthread_create(&recorders[started].thread, NULL, record_samples, &recorders[started]))
            break;
    }
    for (uint64_t i = 0; i < (uint64_t)THREADS * SAMPLES_PER_THREAD; i++)
        histogram_record_us(all, sample_us(i));
    for (unsigned i = 0; i < started; i++) {
        CHECK_PTHREAD(pthread_join(recorders[i].thread, NULL));
        histogram_merge(merged, &recorders[i].histogram);
    }
    same_histogram(table, "a million known samples", all, merged);
    free(recorders);
}

/* Adds by hand what load_stats_merge() is to add. */
static void add_by_hand(struct histogram *sum, const struct histogram *part)
{
    for (size_t i = 0; i < HISTOGRAM_COUNTERS; i++)
        sum->counters[i] += part->counters[i];
    if (part->count > 0 && (sum->count == 0 || part->min_us < sum->min_us))
        sum->min_us = part->min_us;
    if (part->max_us > sum->max_us)
        sum->max_us = part->max_us;
    sum->count += part->count;
    sum->sum_us += part->sum_us;
    sum->clamped += part->clamped;
}

/* Runs the workers of a load as load_run_execute() does, but keeps their parts. Returns how many
 * ran. */
static unsigned run_workers(const struct load_settings *settings, const struct stop *stop,
                            struct load_worker *workers[THREADS], struct load_shared *shared)
{
    unsigned made = 0;
    unsigned started = 0;
    while (made < THREADS && (workers[made] = load_worker_new(settings, shared, stop, made)))
        made++;
    int64_t start_ns = clock_now_ns() + 20 * CLOCK_NS_PER_MS;
    while (made == THREADS && started < THREADS && load_worker_start(workers[started], start_ns))
        started++;
    for (unsigned i = 0; i < made; i++)
        load_worker_join(workers[i]);
    return started;
}

/* load_stats is some hundred KiB: on the heap. */
struct parts {
    struct load_stats merged;
    struct histogram sums[4];
    uint64_t right;
};

static void compare_parts(struct selftest_table *table, const struct load_settings *settings,
                          struct load_worker *workers[THREADS], struct parts *parts)
{
    static const char *const names[] = {"4 threads: response", "4 threads: service",
                                        "4 threads: first byte", "4 threads: lag"};
    if (!load_stats_init(&parts->merged, load_settings_span_ns(settings))) {
        selftest_trouble(table, "out of memory");
        return;
    }
    struct load_stats *merged = &parts->merged;
    for (unsigned i = 0; i < THREADS; i++) {
        const struct load_stats *part = load_worker_join(workers[i]);
        load_stats_merge(merged, part);
        add_by_hand(&parts->sums[0], &part->response_all);
        add_by_hand(&parts->sums[1], &part->service);
        add_by_hand(&parts->sums[2], &part->first_byte);
        add_by_hand(&parts->sums[3], &part->lag);
        parts->right += part->ledger.outcomes[OUTCOME_OK];
    }
    same_histogram(table, names[0], &parts->sums[0], &merged->response_all);
    same_histogram(table, names[1], &parts->sums[1], &merged->service);
    same_histogram(table, names[2], &parts->sums[2], &merged->first_byte);
    same_histogram(table, names[3], &parts->sums[3], &merged->lag);
    selftest_count(table, "  right answers of the parts", parts->right,
                   merged->ledger.outcomes[OUTCOME_OK]);
    load_stats_destroy(merged);
}

static void worker_parts(struct selftest_table *table, const struct stop *stop,
                         const struct selftest_load *load)
{
    char why[SELFTEST_WHY];
    struct load_settings settings;
    struct load_segments segments;
    bool has_segments = false;
    struct load_shared shared = {.segments = &segments};
    struct load_worker *workers[THREADS] = {0};
    struct stall_server *server = stall_server_start(load->scene, 0, why, sizeof why);
    struct parts *parts = calloc(1, sizeof *parts);
    if (!server ||
        !selftest_load_settings(load, stall_server_port(server), &settings, why, sizeof why)) {
        selftest_trouble(table, why);
    } else if (!parts || !(has_segments = load_segments_init(&segments, &settings)) ||
               run_workers(&settings, stop, workers, &shared) < THREADS) {
        selftest_trouble(table, "out of memory, descriptors or threads");
    } else {
        compare_parts(table, &settings, workers, parts);
        selftest_count(table, "  and as the server has it",
                       stall_server_finish(server)->by_kind[STALL_RIGHT], parts->right);
    }
    for (size_t i = 0; i < THREADS; i++)
        load_worker_free(workers[i]);
    if (has_segments)
        load_segments_destroy(&segments);
    free(parts);
    stall_server_free(server);
}

/* And as a user sees it: a run of four threads. */
static void whole_run(struct selftest_table *table, const struct stop *stop,
                      const struct selftest_load *load)
{
    struct selftest_run run;
    if (!selftest_load_run(load, stop, table, &run))
        return;
    const struct load_stats *stats = run.result.stats;
    uint64_t sum = 0;
    for (size_t i = 0; i < HISTOGRAM_COUNTERS; i++)
        sum += stats->response_all.counters[i];
    selftest_count(table, "--threads 4: seen by the server", 1000, run.record->requests);
    selftest_count(table, "  sum of the counters", 1000, sum);
    selftest_count(table, "  right answers", 1000, stats->ledger.outcomes[OUTCOME_OK]);
    selftest_run_free(&run);
}

void selftest_t8(struct selftest_table *table, const struct stop *stop)
{
    const struct selftest_load load = {.scene = &selftest_scene_spread,
                                       .rate_per_s = 500,
                                       .duration_s = 2,
                                       .timeout_s = 5,
                                       .threads = THREADS};
    known_samples(table);
    worker_parts(table, stop, &load);
    whole_run(table, stop, &load);
}
