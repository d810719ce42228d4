#include "loadtest/load_run.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/text.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Time for all threads to be there before the first request is due. */
#define START_DELAY_NS   (20 * CLOCK_NS_PER_MS)
#define LOOK_INTERVAL_NS (20 * CLOCK_NS_PER_MS)
#define LINE_TERMINAL_NS (200 * CLOCK_NS_PER_MS)
#define LINE_PLAIN_NS    CLOCK_NS_PER_S

uint64_t load_run_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

struct load_view load_run_view(const char *label)
{
    return (struct load_view){
        .stream = stderr, .is_terminal = isatty(STDERR_FILENO), .label = label};
}

/* The terminal's width; a line that is longer would wrap and could not be written over. */
static size_t view_columns(const struct load_view *view)
{
    struct winsize size;
    if (!view->is_terminal)
        return SIZE_MAX;
    if (ioctl(fileno(view->stream), TIOCGWINSZ, &size) || size.ws_col < 2)
        return 79;
    return (size_t)size.ws_col - 1;
}

static void add_pool(struct text *line, struct scrape *scrape)
{
    struct service_sample sample;
    enum scrape_state state = scrape ? scrape_latest(scrape, &sample) : SCRAPE_NEVER;
    if (state == SCRAPE_DOWN)
        text_add(line, " | service down");
    else if (state == SCRAPE_UP && !isnan(sample.pool_max))
        text_addf(line, " | pool %.0f/%.0f, %.0f waiting", sample.pool_used, sample.pool_max,
                  sample.pool_pending);
}

static void print_progress(const struct load_view *view, const struct load_settings *settings,
                           const struct load_progress *progress, struct scrape *scrape,
                           double elapsed_s)
{
    struct text line = {0};
    size_t columns = view_columns(view);
    text_addf(&line,
              "%s%5.1f s  %" PRIuFAST64 "/%" PRIu64 "  %" PRIuFAST64 " ok  %" PRIuFAST64
              " failed  %" PRIuFAST64 " in flight",
              view->label, elapsed_s > 0 ? elapsed_s : 0, atomic_load(&progress->scheduled),
              settings->schedule.count, atomic_load(&progress->ok), atomic_load(&progress->failed),
              atomic_load(&progress->in_flight));
    add_pool(&line, scrape);
    if (!line.failed)
        fprintf(view->stream, view->is_terminal ? "\r%.*s\033[K" : "%.*s\n",
                (int)(line.size_bytes < columns ? line.size_bytes : columns), line.data);
    fflush(view->stream);
    text_clear(&line);
}

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

static void watch_workers(struct load_worker *const *workers, const struct load_settings *settings,
                          const struct load_progress *progress, struct scrape *scrape,
                          const struct stop *stop, const struct load_view *view, int64_t start_ns)
{
    int64_t line_ns = view->is_terminal ? LINE_TERMINAL_NS : LINE_PLAIN_NS;
    int64_t next_line_ns = start_ns + line_ns;
    while (!all_done_at(workers, settings->threads) &&
           !stop_wait_until(stop, clock_now_ns() + LOOK_INTERVAL_NS)) {
        int64_t now_ns = clock_now_ns();
        if (!view->stream || now_ns < next_line_ns)
            continue;
        print_progress(view, settings, progress, scrape,
                       (double)(now_ns - start_ns) / (double)CLOCK_NS_PER_S);
        next_line_ns += line_ns;
    }
    if (view->stream && view->is_terminal) {
        fprintf(view->stream, "\r\033[K");
        fflush(view->stream);
    }
}

static int start_workers(struct load_worker **workers, const struct load_settings *settings,
                         struct load_progress *progress, struct stop *stop, int64_t *start_ns)
{
    for (unsigned i = 0; i < settings->threads; i++) {
        workers[i] = load_worker_new(settings, progress, stop, i);
        if (!workers[i])
            return -1;
    }
    *start_ns = clock_now_ns() + START_DELAY_NS;
    for (unsigned i = 0; i < settings->threads; i++)
        if (load_worker_start(workers[i], *start_ns)) {
            stop_request(stop, SIGABRT); /* for those that run already */
            return -1;
        }
    return 0;
}

static void close_books(struct load_result *result)
{
    struct load_stats *stats = result->stats;
    error_table_sort(&stats->errors);
    result->balanced = ledger_balances(&stats->ledger, stats->response_all.count,
                                       error_table_total(&stats->errors), result->imbalance,
                                       sizeof result->imbalance);
}

int load_run_execute(const struct load_settings *settings, struct scrape *scrape, int64_t settle_ns,
                     struct stop *stop, const struct load_view *view, struct load_result *result,
                     char *why, size_t why_size)
{
    struct load_progress progress = {0};
    *result = (struct load_result){.stats = calloc(1, sizeof *result->stats)};
    struct load_worker **workers = calloc(settings->threads, sizeof(struct load_worker *));
    int failed = !workers || !result->stats ? -1 : 0;
    if (!failed)
        failed = start_workers(workers, settings, &progress, stop, &result->start_ns);
    if (!failed)
        watch_workers(workers, settings, &progress, scrape, stop, view, result->start_ns);
    for (unsigned i = 0; workers && i < settings->threads && workers[i]; i++)
        load_stats_merge(result->stats, load_worker_join(workers[i]));
    if (!failed)
        result->elapsed_ns = all_done_at(workers, settings->threads) - result->start_ns;
    for (unsigned i = 0; workers && i < settings->threads; i++)
        load_worker_free(workers[i]);
    free(workers);
    if (scrape) {
        scrape_finish(scrape, clock_now_ns() + settle_ns, &result->service);
        result->has_service = result->service.samples > 0;
    }
    if (failed) {
        snprintf(why, why_size, "out of memory, descriptors or threads");
        load_result_free(result);
        return -1;
    }
    result->stop_reason = atomic_load(&stop->reason);
    close_books(result);
    return 0;
}

void load_result_free(struct load_result *result)
{
    free(result->stats);
    result->stats = NULL;
}
