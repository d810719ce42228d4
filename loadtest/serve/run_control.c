#include "loadtest/serve/run_control.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "loadtest/report/run_json.h"

#include <strings.h>

#define PROGRESS_INTERVAL_NS (250 * CLOCK_NS_PER_MS)
/* A load that comes while the one before is being stored waits for that, at most so long. */
#define ENDING_NS (5 * CLOCK_NS_PER_S)
/* How long a service that is down at the end may take to come back, to be seen as restarted. */
#define SETTLE_NS (5 * CLOCK_NS_PER_S)

/* Lock key: (i) immutable, (m) under `lock`, (p) the holder's of the place: the thread that
 * reserved it until the start, then the run's own thread. */
struct run_control {
    struct run_store *store;      /* (i) */
    const struct target *own;     /* (i) */
    const char *admin_url;        /* (i) */
    const char *admin_token_file; /* (i) */
    struct test_plan plan;        /* (p) */
    struct load_segments
        segments;          /* made and destroyed by (p), valid while the plan points to it */
    struct scrape *scrape; /* (p) */
    pthread_mutex_t lock;
    pthread_cond_t changed;  /* (m) a look, an end, a release */
    bool closing;            /* (m) */
    bool taken;              /* (m) the place is */
    bool is_ending;          /* (m) the run is over, and is being stored */
    bool has_thread;         /* (m) to be joined */
    pthread_t thread;        /* (m) */
    char id[RUN_ID_SIZE];    /* (m) of the run under way, or "" */
    struct stop stop;        /* (m) made and destroyed; valid while there is an id */
    struct run_live live;    /* (m) of the run under way */
    struct seconds seconds;  /* (m) likewise; made and destroyed by (p) */
    struct run_totals ended; /* (m) without the run under way */
};

struct run_control *run_control_new(struct run_store *store, const struct target *own,
                                    const char *admin_url, const char *admin_token_file)
{
    struct run_control *control = calloc(1, sizeof *control);
    if (!control)
        return NULL;
    control->store = store;
    control->own = own;
    control->admin_url = admin_url;
    control->admin_token_file = admin_token_file;
    CHECK_PTHREAD(pthread_mutex_init(&control->lock, NULL));
    clock_cond_init(&control->changed);
    return control;
}

/* The lock is held and the place is free: its thread, if any, is at its end. */
static void join(struct run_control *control)
{
    if (control->has_thread)
        CHECK_PTHREAD(pthread_join(control->thread, NULL));
    control->has_thread = false;
}

void run_control_free(struct run_control *control)
{
    if (!control)
        return;
    assert(!control->taken);
    join(control);
    CHECK_PTHREAD(pthread_cond_destroy(&control->changed));
    CHECK_PTHREAD(pthread_mutex_destroy(&control->lock));
    free(control);
}

enum run_control_outcome run_control_reserve(struct run_control *control, char running[RUN_ID_SIZE])
{
    enum run_control_outcome outcome = RUN_CONTROL_OK;
    struct timespec deadline = clock_timespec(clock_now_ns() + ENDING_NS);
    int waited = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    while (control->is_ending && waited == 0)
        waited = pthread_cond_timedwait(&control->changed, &control->lock, &deadline);
    memcpy(running, control->id, RUN_ID_SIZE);
    if (control->closing)
        outcome = RUN_CONTROL_CLOSED;
    else if (control->taken)
        outcome = RUN_CONTROL_BUSY;
    if (outcome == RUN_CONTROL_OK) {
        assert(!control->id[0]);
        join(control);
        control->taken = true;
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
    return outcome;
}

/* The lock is held. */
static void free_place(struct run_control *control)
{
    if (control->id[0])
        stop_destroy(&control->stop);
    seconds_destroy(&control->seconds);
    if (control->plan.load.segments)
        load_segments_destroy(&control->segments);
    control->plan.load.segments = NULL;
    control->id[0] = '\0';
    control->taken = false;
    control->is_ending = false;
    control->live = (struct run_live){0};
    CHECK_PTHREAD(pthread_cond_broadcast(&control->changed));
}

void run_control_release(struct run_control *control)
{
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    free_place(control);
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
}

/* In the run's thread. */
static void take_progress(void *argument, const struct load_moment *moment)
{
    struct run_control *control = argument;
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    struct run_live *live = &control->live;
    live->updates++;
    live->elapsed_s = moment->elapsed_s > 0 ? moment->elapsed_s : 0;
    live->figures = moment->live;
    live->seconds = moment->seconds_to;
    live->seconds_final = moment->seconds_final;
    seconds_clear(&control->seconds, moment->seconds_from, moment->seconds_to);
    seconds_add(&control->seconds, moment->seconds, moment->seconds_from, moment->seconds_to);
    live->service_state = moment->service_state;
    live->service = moment->service;
    CHECK_PTHREAD(pthread_cond_broadcast(&control->changed));
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
}

/* Puts the run into the store. */
static void keep(struct run_control *control, const char *state, json_t *result)
{
    char why[512];
    if (!run_store_end(control->store, control->id, state, result, why, sizeof why))
        log_line(LOG_ERROR, "a run's end could not be written",
                 json_pack("{s:s, s:s}", "run", control->id, "detail", why));
}

/* The lock is held. */
static void add_to_totals(struct run_totals *totals, const struct load_result *result,
                          enum exit_code code)
{
    const struct load_stats *stats = result->stats;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        totals->outcomes[i] += stats->ledger.outcomes[i];
    assert(code <= EXIT_INVALID);
    totals->runs[code]++;
    if (stats->response_all.count > 0) {
        totals->has_p99 = true;
        totals->p99_s = (double)histogram_percentile_us(&stats->response_all, 99) / 1e6;
    }
}

static void *run_thread(void *argument)
{
    struct run_control *control = argument;
    struct load_result result;
    char why[512];
    const struct load_watch watch = {take_progress, control, PROGRESS_INTERVAL_NS};
    enum exit_code code = EXIT_TROUBLE;
    bool done = load_run_execute(&control->plan.load, control->scrape, SETTLE_NS, &control->stop,
                                 &watch, &result, why, sizeof why);
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    control->is_ending = true;
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
    json_t *json = done ? run_json_build(&control->plan, &result) : NULL;
    if (json) {
        code = verdict_exit_code(&result, &control->plan);
        keep(control, RUN_STATE_FINISHED, json);
    } else {
        keep(control, RUN_STATE_FAILED, json_pack("{s:s}", "error", done ? "out of memory" : why));
    }
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    assert(control->taken && control->id[0]);
    if (done)
        add_to_totals(&control->ended, &result, code);
    else
        control->ended.runs[code]++;
    free_place(control);
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
    if (done)
        load_result_free(&result);
    return NULL;
}

/* Another service's figures beside this load would only mislead. */
static bool is_watched(const struct run_control *control, const struct target *target)
{
    return control->admin_url && strcasecmp(control->own->host, target->host) == 0 &&
           strcmp(control->own->port, target->port) == 0;
}

/* Makes the record and the thread. `scrape` is taken over on OK. */
static enum run_control_outcome begin(struct run_control *control, struct scrape *scrape,
                                      json_t *asked, char id[RUN_ID_SIZE], char *why,
                                      size_t why_size)
{
    if (!run_store_begin(control->store, control->plan.load.target.url, asked, id, why, why_size))
        return RUN_CONTROL_TROUBLE;
    control->scrape = scrape;
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    assert(control->taken && !control->has_thread && !control->id[0]);
    memcpy(control->id, id, RUN_ID_SIZE);
    control->live = (struct run_live){
        .planned = control->plan.load.closed ? 0 : control->plan.load.schedule.count};
    bool closing = control->closing;
    int failed = closing ? 0 : pthread_create(&control->thread, NULL, run_thread, control);
    control->has_thread = !closing && !failed;
    if (!control->has_thread)
        control->id[0] = '\0'; /* `stop` stays the caller's */
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
    if (!closing && !failed)
        return RUN_CONTROL_OK;
    char unwritten[512];
    snprintf(why, why_size, "%s",
             closing ? "the load tester is stopping" : "no thread can be started");
    (void)run_store_end(control->store, id, RUN_STATE_FAILED, json_pack("{s:s}", "error", why),
                        unwritten, sizeof unwritten);
    return closing ? RUN_CONTROL_CLOSED : RUN_CONTROL_TROUBLE;
}

enum run_control_outcome run_control_start(struct run_control *control,
                                           const struct test_plan *plan, json_t *asked,
                                           char id[RUN_ID_SIZE], char *why, size_t why_size)
{
    struct scrape *scrape = NULL;
    enum run_control_outcome outcome = RUN_CONTROL_TROUBLE;
    control->plan = *plan;
    if (load_segments_init(&control->segments, &plan->load))
        control->plan.load.segments = &control->segments;
    if (!control->plan.load.segments ||
        !seconds_init(&control->seconds, load_settings_span_ns(&plan->load)) ||
        !stop_init(&control->stop)) {
        snprintf(why, why_size, "no descriptor or memory is left");
        run_control_release(control);
        return outcome;
    }
    if (is_watched(control, &plan->load.target)) {
        char reason[384];
        scrape = scrape_start(control->admin_url, control->admin_token_file, &control->stop, reason,
                              sizeof reason);
        if (!scrape) {
            snprintf(why, why_size, "admin-url: %s", reason);
            outcome = RUN_CONTROL_UNWATCHED;
            goto failed;
        }
    }
    outcome = begin(control, scrape, asked, id, why, why_size);
    if (outcome == RUN_CONTROL_OK)
        return outcome;
failed:
    if (scrape) {
        struct scrape_result unused;
        scrape_finish(scrape, clock_now_ns(), &unused);
        scrape_result_free(&unused);
    }
    stop_destroy(&control->stop);
    run_control_release(control);
    return outcome;
}

/* The lock is held. */
static bool is_under_way(const struct run_control *control, const char *id)
{
    return control->id[0] && strcmp(control->id, id) == 0;
}

enum run_control_outcome run_control_stop(struct run_control *control, const char *id,
                                          int64_t deadline_ns)
{
    struct timespec deadline = clock_timespec(deadline_ns);
    int waited = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    bool was_under_way = is_under_way(control, id);
    if (was_under_way) {
        stop_request(&control->stop, STOP_BY_REST);
        control->live.stopping = true;
    }
    while (is_under_way(control, id) && waited == 0)
        waited = pthread_cond_timedwait(&control->changed, &control->lock, &deadline);
    bool is_over = !is_under_way(control, id);
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
    if (!was_under_way)
        return RUN_CONTROL_OVER;
    return is_over ? RUN_CONTROL_OK : RUN_CONTROL_BUSY;
}

enum run_control_outcome run_control_change(struct run_control *control, const char *id,
                                            const struct load_change *change,
                                            struct load_segment *made, char *why, size_t why_size)
{
    enum run_control_outcome outcome = RUN_CONTROL_OK;
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    if (!is_under_way(control, id)) {
        snprintf(why, why_size, "it is not under way");
        outcome = RUN_CONTROL_OVER;
    } else if (control->live.stopping || control->is_ending) {
        snprintf(why, why_size, "it is stopping");
        outcome = RUN_CONTROL_OVER;
    } else if (control->plan.load.closed) {
        outcome = RUN_CONTROL_FIXED;
    } else {
        switch (load_segments_change(&control->segments, change, made, why, why_size)) {
        case LOAD_CHANGE_DONE:
            control->live.planned = load_segments_expected(&control->segments);
            break;
        case LOAD_CHANGE_WRONG:
            outcome = RUN_CONTROL_WRONG;
            break;
        case LOAD_CHANGE_TOO_LATE:
            outcome = RUN_CONTROL_OVER;
        }
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
    return outcome;
}

enum run_control_outcome run_control_snapshot(struct run_control *control, const char *id,
                                              uint64_t seen, int64_t deadline_ns,
                                              struct run_live *live)
{
    struct timespec deadline = clock_timespec(deadline_ns);
    int waited = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    while (is_under_way(control, id) && control->live.updates <= seen && waited == 0)
        waited = pthread_cond_timedwait(&control->changed, &control->lock, &deadline);
    bool is_over = !is_under_way(control, id);
    if (!is_over)
        *live = control->live;
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
    return is_over ? RUN_CONTROL_OVER : RUN_CONTROL_OK;
}

enum run_control_outcome run_control_seconds(struct run_control *control, const char *id,
                                             unsigned from, struct run_seconds *seconds)
{
    enum run_control_outcome outcome = RUN_CONTROL_OK;
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    const struct run_live *live = &control->live;
    *seconds = (struct run_seconds){.from = from, .final = live->seconds_final};
    if (!is_under_way(control, id)) {
        outcome = RUN_CONTROL_OVER;
    } else if (from < live->seconds) {
        seconds->count = live->seconds - from;
        size_t size = seconds->count * sizeof seconds->rows[0];
        seconds->rows = malloc(size);
        if (seconds->rows)
            memcpy(seconds->rows, &control->seconds.rows[from], size);
        else
            outcome = RUN_CONTROL_TROUBLE;
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
    return outcome;
}

void run_control_totals(struct run_control *control, struct run_totals *totals)
{
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    const struct load_live *figures = &control->live.figures;
    *totals = control->ended;
    totals->running = control->id[0] != '\0';
    totals->in_flight = figures->in_flight;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        totals->outcomes[i] += figures->ledger.outcomes[i];
    if (figures->latest.response.count > 0) {
        totals->has_p99 = true;
        totals->p99_s = (double)coarse_histogram_percentile_us(&figures->latest.response, 99) / 1e6;
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
}

bool run_control_close(struct run_control *control, int reason, int64_t deadline_ns)
{
    struct timespec deadline = clock_timespec(deadline_ns);
    int waited = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    control->closing = true;
    if (control->id[0]) {
        stop_request(&control->stop, reason);
        control->live.stopping = true;
    }
    while (control->taken && waited == 0)
        waited = pthread_cond_timedwait(&control->changed, &control->lock, &deadline);
    bool is_over = !control->taken;
    if (is_over)
        join(control);
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
    return is_over;
}
