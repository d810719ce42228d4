#include "loadtest/engine/load_run.h"

#include "common/check.h"
#include "common/clock.h"

#include <signal.h>

/* Time for all threads to be there before the first request is due. */
#define START_DELAY_NS   (20 * CLOCK_NS_PER_MS)
#define POLL_INTERVAL_NS (20 * CLOCK_NS_PER_MS)

/* Returns when the last of the workers was done (monotonic); 0 while one of them is not. */
static int64_t all_done_at(struct load_worker *const *workers, unsigned count)
{
    int64_t latest_ns = 0;
    for (unsigned i = 0; i < count; i++) {
        int64_t done_ns = load_worker_done_at_ns(workers[i]);
        if (done_ns == 0)
            return 0;
        if (done_ns > latest_ns)
            latest_ns = done_ns;
    }
    return latest_ns;
}

/* The seconds of all workers, as far as they were looked at. */
struct live_seconds {
    struct seconds sum;
    unsigned final; /* so many rows change no more: each request due in them has ended */
};

static void look_at_seconds(struct live_seconds *live, struct load_worker *const *workers,
                            const struct load_settings *settings, int64_t elapsed_ns,
                            struct load_moment *moment)
{
    unsigned to = seconds_begun(&live->sum, elapsed_ns);
    int64_t settled_ns = elapsed_ns; /* the present second goes on */
    seconds_clear(&live->sum, live->final, to);
    for (unsigned i = 0; i < settings->threads; i++) {
        int64_t its_ns = load_worker_add_seconds(workers[i], &live->sum, live->final, to);
        settled_ns = its_ns < settled_ns ? its_ns : settled_ns;
    }
    moment->seconds = &live->sum;
    moment->seconds_from = live->final;
    moment->seconds_to = to;
    unsigned begun = seconds_begun(&live->sum, settled_ns);
    if (begun > live->final + 1)
        live->final = begun - 1;
    moment->seconds_final = live->final;
}

static void show(struct load_worker *const *workers, const struct load_settings *settings,
                 struct scrape *scrape, const struct load_watch *watch, int64_t elapsed_ns,
                 struct live_seconds *seconds)
{
    struct load_moment moment = {.settings = settings,
                                 .elapsed_s = (double)elapsed_ns / (double)CLOCK_NS_PER_S,
                                 .service_state = SCRAPE_NEVER};
    for (unsigned i = 0; i < settings->threads; i++)
        load_worker_snapshot(workers[i], &moment.live);
    look_at_seconds(seconds, workers, settings, elapsed_ns, &moment);
    if (scrape)
        moment.service_state = scrape_latest(scrape, &moment.service);
    watch->on_progress(watch->argument, &moment);
}

static void watch_workers(struct load_worker *const *workers, const struct load_settings *settings,
                          struct scrape *scrape, const struct stop *stop,
                          const struct load_watch *watch, int64_t start_ns,
                          struct live_seconds *seconds)
{
    int64_t next_report_ns = start_ns + watch->interval_ns;
    while (!all_done_at(workers, settings->threads) &&
           !stop_wait_until(stop, clock_now_ns() + POLL_INTERVAL_NS)) {
        int64_t now_ns = clock_now_ns();
        if (!watch->on_progress || now_ns < next_report_ns)
            continue;
        show(workers, settings, scrape, watch, now_ns - start_ns, seconds);
        next_report_ns += watch->interval_ns;
    }
}

static bool start_workers(struct load_worker **workers, const struct load_settings *settings,
                          struct load_shared *shared, struct stop *stop, struct load_result *result)
{
    for (unsigned i = 0; i < settings->threads; i++) {
        workers[i] = load_worker_new(settings, shared, stop, i);
        if (!workers[i])
            return false;
    }
    result->start_ns = clock_now_ns() + START_DELAY_NS;
    result->started_unix_s = clock_unix_seconds() + (double)START_DELAY_NS / (double)CLOCK_NS_PER_S;
    load_segments_start(shared->segments, result->start_ns);
    for (unsigned i = 0; i < settings->threads; i++)
        if (!load_worker_start(workers[i], result->start_ns)) {
            stop_request(stop, SIGABRT); /* for those that run already */
            return false;
        }
    return true;
}

static void close_books(struct load_result *result)
{
    struct load_stats *stats = result->stats;
    error_table_sort(&stats->errors);
    result->balanced = ledger_balances(&stats->ledger, stats->response_all.count,
                                       error_table_total(&stats->errors), result->imbalance,
                                       sizeof result->imbalance);
}

/* Joins what was started, and adds up what it measured. */
static void collect(struct load_worker *const *workers, unsigned count, struct load_result *result)
{
    for (unsigned i = 0; i < count && workers[i]; i++)
        load_stats_merge(result->stats, load_worker_join(workers[i]));
}

static bool keep_segments(const struct load_segments *segments, struct load_result *result)
{
    unsigned count = load_segments_count(segments);
    result->segments = calloc(count, sizeof *result->segments);
    result->segment_count = result->segments ? count : 0;
    for (unsigned i = 0; i < result->segment_count; i++)
        result->segments[i] = (struct load_result_segment){*load_segments_at(segments, i),
                                                           load_segments_requests_of(segments, i)};
    return result->segments != NULL;
}

static void free_workers(struct load_worker **workers, unsigned count)
{
    for (unsigned i = 0; workers && i < count; i++)
        load_worker_free(workers[i]);
    free(workers);
}

bool load_run_execute(const struct load_settings *settings, struct scrape *scrape,
                      int64_t settle_ns, struct stop *stop, const struct load_watch *watch,
                      struct load_result *result, char *why, size_t why_size)
{
    struct load_shared shared = {.segments = settings->segments};
    struct load_segments unchanged;
    struct live_seconds seconds = {0};
    bool done = false;
    assert(settings->threads > 0 && settings->max_in_flight > 0);
    *result = (struct load_result){.stats = calloc(1, sizeof *result->stats)};
    struct load_worker **workers = calloc(settings->threads, sizeof(struct load_worker *));
    if (!settings->segments && load_segments_init(&unchanged, settings))
        shared.segments = &unchanged;
    if (!workers || !result->stats || !shared.segments ||
        !load_stats_init(result->stats, load_settings_span_ns(settings)) ||
        !seconds_init(&seconds.sum, load_settings_span_ns(settings)))
        goto out;
    done = start_workers(workers, settings, &shared, stop, result);
    if (done)
        watch_workers(workers, settings, scrape, stop, watch, result->start_ns, &seconds);
    collect(workers, settings->threads, result);
    done = done && keep_segments(shared.segments, result);
    if (!done)
        goto out;
    assert(atomic_load(&shared.in_flight) == 0);
    result->elapsed_ns = all_done_at(workers, settings->threads) - result->start_ns;
    if (result->elapsed_ns < 0) /* stopped before the first request was due */
        result->elapsed_ns = 0;
    /* What comes later stops the scrapes, not the load. */
    result->stop_reason = atomic_load(&stop->reason);
    close_books(result);
out:
    free_workers(workers, settings->threads);
    seconds_destroy(&seconds.sum);
    if (shared.segments == &unchanged)
        load_segments_destroy(&unchanged);
    if (scrape) {
        scrape_finish(scrape, clock_now_ns() + settle_ns, &result->service);
        result->has_service = result->service.samples > 0;
    }
    if (!done) {
        snprintf(why, why_size, "out of memory, descriptors or threads");
        load_result_free(result);
    }
    return done;
}

void load_result_free(struct load_result *result)
{
    scrape_result_free(&result->service);
    if (result->stats)
        load_stats_destroy(result->stats);
    free(result->stats);
    free(result->segments);
    result->stats = NULL;
    result->segments = NULL;
}
