#include "loadtest/selftest/load.h"

#include "common/check.h"
#include "common/clock.h"
#include "loadtest/judge/generator_check.h"

#define PROGRESS_INTERVAL_NS (20 * CLOCK_NS_PER_MS)

bool selftest_load_settings(const struct selftest_load *load, uint16_t port,
                            struct load_settings *settings, char *why, size_t why_size)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/feeds/{feed}", (unsigned)port);
    *settings = (struct load_settings){
        .check = LOAD_CHECK_FEED,
        .items = load->scene->items,
        .retry_budget_percent = LOAD_RETRY_BUDGET_NONE,
        .timeout_ns = (int64_t)(load->timeout_s * (double)CLOCK_NS_PER_S),
        .max_in_flight = load->max_in_flight ? load->max_in_flight : 2000,
        .threads = load->threads ? load->threads : 1,
        .closed = load->closed,
        .retries = load->retries,
        .retry_backoff_ns = 20 * CLOCK_NS_PER_MS,
    };
    schedule_init(&settings->schedule, load->rate_per_s, load->duration_s, load->seed);
    schedule_set_arrivals(&settings->schedule, load->arrivals);
    if (!target_parse(&settings->target, url, why, why_size))
        return false;
    return target_resolve(&settings->target, why, why_size);
}

/* The run has a stop of its own, since two ask for it: the selftest's, and the load's own end. */
struct watcher {
    const struct stop *asked;
    struct stop own;
    double stop_after_s;
};

static void stop_when_over(void *argument, const struct load_moment *moment)
{
    struct watcher *watcher = argument;
    bool is_over = watcher->stop_after_s > 0 && moment->elapsed_s >= watcher->stop_after_s;
    if (is_over || stop_requested(watcher->asked))
        stop_request(&watcher->own, STOP_BY_REST);
}

static void keep_first(void *argument, const char *sentence)
{
    struct selftest_table *table = argument;
    if (!*table->invalid)
        snprintf(table->invalid, sizeof table->invalid, "%s", sentence);
}

static void note_disturbance(struct selftest_table *table, const struct selftest_run *run)
{
    const struct load_stats *stats = run->result.stats;
    int64_t lag_ns = histogram_percentile_us(&stats->lag, 100) * CLOCK_NS_PER_US;
    int64_t late_ns = run->record->late_max_ns;
    int64_t worse_ns = lag_ns > late_ns ? lag_ns : late_ns;
    if (worse_ns > table->disturbed_ns)
        table->disturbed_ns = worse_ns;
    /* A closed loop has no schedule, and is no place to look for lateness. */
    if (!run->settings.closed)
        generator_check(stats, keep_first, table);
}

bool selftest_load_run(const struct selftest_load *load, const struct stop *stop,
                       struct selftest_table *table, struct selftest_run *run)
{
    char why[SELFTEST_WHY];
    struct watcher watcher = {.asked = stop, .stop_after_s = load->stop_after_s};
    const struct load_watch watch = {stop_when_over, &watcher, PROGRESS_INTERVAL_NS};
    bool done = false;
    *run = (struct selftest_run){.scene = load->scene};
    if (!stop_init(&watcher.own)) {
        selftest_trouble(table, "no descriptor is left");
        return false;
    }
    size_t served_max = load->keeps_record ? (size_t)(load->rate_per_s * load->duration_s) : 0;
    run->server = stall_server_start(load->scene, served_max, why, sizeof why);
    if (run->server && selftest_load_settings(load, stall_server_port(run->server), &run->settings,
                                              why, sizeof why))
        done = load_run_execute(&run->settings, NULL, 0, &watcher.own, &watch, &run->result, why,
                                sizeof why);
    stop_destroy(&watcher.own);
    if (done && stop_requested(stop)) {
        snprintf(why, sizeof why, "stopped by a signal");
        load_result_free(&run->result);
        done = false;
    }
    if (!done) {
        selftest_trouble(table, why);
        stall_server_free(run->server);
        return false;
    }
    run->record = stall_server_finish(run->server);
    note_disturbance(table, run);
    return true;
}

struct lane {
    const struct selftest_load *load;
    const struct stop *stop;
    struct selftest_table table;
    struct selftest_run *run;
    bool done;
    pthread_t thread;
    bool started;
};

static void *lane_main(void *argument)
{
    struct lane *lane = argument;
    lane->done = selftest_load_run(lane->load, lane->stop, &lane->table, lane->run);
    return NULL;
}

/* Adds what a lane's run has to say: its rows are troubles. */
static void take_lane(struct selftest_table *table, const struct lane *lane)
{
    if (*lane->table.invalid)
        keep_first(table, lane->table.invalid);
    if (lane->table.disturbed_ns > table->disturbed_ns)
        table->disturbed_ns = lane->table.disturbed_ns;
    for (size_t i = 0; i < lane->table.count; i++)
        selftest_trouble(table, lane->table.rows[i].measured);
}

bool selftest_load_run_all(const struct selftest_load *loads, size_t count, const struct stop *stop,
                           struct selftest_table *table, struct selftest_run *runs)
{
    bool done = true;
    assert(count <= SELFTEST_LOADS_MAX);
    struct lane *lanes = calloc(count, sizeof *lanes);
    if (!lanes) {
        selftest_trouble(table, "out of memory");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        lanes[i] = (struct lane){.load = &loads[i], .stop = stop, .run = &runs[i]};
        lanes[i].started = !pthread_create(&lanes[i].thread, NULL, lane_main, &lanes[i]);
        if (!lanes[i].started)
            selftest_trouble(table, "no thread is left");
    }
    for (size_t i = 0; i < count; i++) {
        if (lanes[i].started)
            CHECK_PTHREAD(pthread_join(lanes[i].thread, NULL));
        take_lane(table, &lanes[i]);
        done = done && lanes[i].done;
    }
    for (size_t i = 0; !done && i < count; i++)
        if (lanes[i].done)
            selftest_run_free(&runs[i]);
    free(lanes);
    return done;
}

void selftest_run_free(struct selftest_run *run)
{
    load_result_free(&run->result);
    stall_server_free(run->server);
}

double selftest_percentile_ms(const struct histogram *histogram, double percent)
{
    return (double)histogram_percentile_us(histogram, percent) / 1e3;
}

double selftest_mean_ms(const struct histogram *histogram)
{
    return histogram_mean_us(histogram) / 1e3;
}

uint64_t selftest_longer_than(const struct histogram *histogram, int64_t value_us)
{
    uint64_t count = 0;
    for (size_t i = histogram_index(value_us) + 1; i < HISTOGRAM_COUNTERS; i++)
        count += histogram->counters[i];
    return count;
}
