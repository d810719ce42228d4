#include "loadtest/capacity/capacity.h"

#include "common/check.h"
#include "common/client/readiness.h"
#include "common/clock.h"
#include "common/options.h"
#include "loadtest/base/processors.h"
#include "loadtest/capacity/trial.h"
#include "loadtest/report/live_view.h"

#include <math.h>

/* How long a service that is down after a trial may take to come back, to be seen as restarted. */
#define SETTLE_NS (10 * CLOCK_NS_PER_S)

/* A trial that failed, but answered this share of its load right, failed narrowly. */
#define NEARLY 0.9
/* How often a trial that is invalid is made. */
#define INVALID_TRIALS 2

static const double overloads[CAPACITY_OVERLOADS] = {1.2, 1.5, 2};

/* What the trials have in common while they run. */
struct session {
    struct capacity *capacity;
    struct stop *stop;
    struct readiness readiness;
    char *why;
    size_t why_size;
};

static double trial_duration_s(const struct capacity *capacity, double rate_per_s,
                               enum capacity_phase phase)
{
    double least_s = phase == CAPACITY_CONFIRMATION ? capacity->confirm_s : CAPACITY_TRIAL_S;
    return ceil(fmax(least_s, CAPACITY_TRIAL_REQUESTS / rate_per_s));
}

static bool make_schedule(const struct session *session, double rate_per_s,
                          enum capacity_phase phase)
{
    struct capacity *capacity = session->capacity;
    struct schedule *schedule = &capacity->plan.load.schedule;
    char stages[128];
    double duration_s = trial_duration_s(capacity, rate_per_s, phase);
    if (phase == CAPACITY_OVERLOAD)
        snprintf(stages, sizeof stages, "%.9g/%.9g,%.9g/%d", rate_per_s, duration_s,
                 CAPACITY_RECOVERY_RATE * capacity->sustainable.lower_per_s, CAPACITY_RECOVERY_S);
    else
        snprintf(stages, sizeof stages, "%.9g/%.9g", rate_per_s, duration_s);
    return schedule_parse(schedule, stages, schedule->seed, session->why, session->why_size);
}

static void tell(const struct capacity_trial *trial)
{
    fprintf(stderr, "%-12s %8.4g req/s for %3.0f s: %s, %.4g/s right, p99 %s%.0f ms%s%s\n",
            capacity_phase_name(trial->phase), trial->rate_per_s, trial->duration_s,
            trial->passed ? "kept" : "not kept", trial->goodput_per_s,
            trial->p99_is_at_least ? ">=" : "", trial->p99_ms, trial->passed ? "" : "; ",
            trial->reason);
}

/* One run of load. NULL when it could not be done, or was stopped. */
static const struct capacity_trial *run_once(struct session *session, double rate_per_s,
                                             enum capacity_phase phase)
{
    struct capacity *capacity = session->capacity;
    struct load_result result;
    struct live_view view;
    char label[48];
    if (capacity->trial_count == CAPACITY_TRIALS_MAX) {
        snprintf(session->why, session->why_size, "no boundary stood still within %d trials",
                 CAPACITY_TRIALS_MAX);
        return NULL;
    }
    if (!readiness_wait(&session->readiness, session->why, session->why_size) ||
        !make_schedule(session, rate_per_s, phase))
        return NULL;
    struct scrape *scrape = NULL;
    if (capacity->admin_url) {
        scrape = scrape_start(capacity->admin_url, capacity->admin_token_file, session->stop,
                              session->why, session->why_size);
        if (!scrape)
            return NULL;
    }
    snprintf(label, sizeof label, "%-12s %8.4g req/s ", capacity_phase_name(phase), rate_per_s);
    struct load_watch watch = live_view_watch(&view, label);
    if (!view.is_terminal)
        watch.on_progress = NULL; /* a line a trial is enough for a file */
    double busy_s = processors_busy_s();
    bool done = load_run_execute(&capacity->plan.load, scrape, SETTLE_NS, session->stop, &watch,
                                 &result, session->why, session->why_size);
    busy_s = processors_busy_s() - busy_s;
    live_view_clear(&view);
    if (!done)
        return NULL;
    assert(capacity->trial_count < CAPACITY_TRIALS_MAX);
    struct capacity_trial *trial = &capacity->trials[capacity->trial_count];
    *trial = (struct capacity_trial){.phase = phase, .rate_per_s = rate_per_s};
    capacity_trial_take(trial, &capacity->plan, &result);
    bool is_here = options_is_loopback(capacity->plan.load.target.host);
    trial->processor_s = is_here && trial->ok > 0 ? busy_s / (double)trial->ok : (double)NAN;
    if (result.has_service)
        capacity->service = result.service.last;
    bool stopped = result.stop_reason != 0;
    load_result_free(&result);
    if (stopped) {
        snprintf(session->why, session->why_size, "stopped");
        return NULL;
    }
    capacity->trial_count++;
    tell(trial);
    return trial;
}

/* A trial in which the load tester did not do its part says nothing about the service: it is made
 * again, and if the load tester cannot do better, its rate stands as one that failed. */
static enum capacity_trial_end run_trial(void *argument, double rate_per_s,
                                         enum capacity_phase phase)
{
    struct session *session = argument;
    const struct capacity_trial *trial = NULL;
    for (int i = 0; i < INVALID_TRIALS; i++) {
        trial = run_once(session, rate_per_s, phase);
        if (!trial)
            return CAPACITY_ABORTED;
        if (!trial->invalid || phase == CAPACITY_OVERLOAD)
            break;
    }
    if (trial->invalid && phase == CAPACITY_BASELINE) {
        snprintf(session->why, session->why_size,
                 "the load tester was the bottleneck at %.4g req/s already", rate_per_s);
        session->capacity->invalid = true;
        return CAPACITY_ABORTED;
    }
    if (trial->passed)
        return CAPACITY_PASSED;
    bool kept_up = trial->crashes == 0 && trial->goodput_per_s >= NEARLY * rate_per_s;
    return kept_up && !trial->invalid ? CAPACITY_FAILED_NARROWLY : CAPACITY_FAILED;
}

/* Goes beyond the boundary: how far goodput falls, and how long the recovery takes. */
static bool overload(struct session *session)
{
    double lower_per_s = session->capacity->sustainable.lower_per_s;
    for (size_t i = 0; i < CAPACITY_OVERLOADS; i++)
        if (run_trial(session, overloads[i] * lower_per_s, CAPACITY_OVERLOAD) == CAPACITY_ABORTED)
            return false;
    return true;
}

void capacity_sum_up(struct capacity *capacity)
{
    const struct capacity_trial *best = NULL;
    capacity->saturation_per_s = 0;
    capacity->collapse_per_s = (double)NAN;
    for (size_t i = 0; i < capacity->trial_count; i++) {
        const struct capacity_trial *trial = &capacity->trials[i];
        if (trial->goodput_per_s > capacity->saturation_per_s)
            capacity->saturation_per_s = trial->goodput_per_s;
        if (trial->rate_per_s == capacity->sustainable.upper_per_s && trial->invalid)
            capacity->upper_invalid = true;
        if (trial->passed && (!best || trial->rate_per_s >= best->rate_per_s))
            best = trial;
    }
    for (size_t i = 0; i < capacity->trial_count; i++) {
        const struct capacity_trial *trial = &capacity->trials[i];
        if (!trial->invalid && trial->goodput_per_s < capacity->saturation_per_s / 2 &&
            trial->rate_per_s > capacity->sustainable.lower_per_s &&
            !(trial->rate_per_s >= capacity->collapse_per_s))
            capacity->collapse_per_s = trial->rate_per_s;
    }
    if (!best)
        best = capacity->trial_count > 0 ? &capacity->trials[0] : NULL;
    capacity->hold_s = best ? best->hold_s : (double)NAN;
    capacity->uses_per_request = best ? best->uses_per_request : (double)NAN;
    capacity->processor_s = best ? best->processor_s : (double)NAN;
    capacity->processors = processors_count();
}

/* P / (uses * h): F + 1 uses a request in per_item, one in batched; counted, not believed. And the
 * processors' bound. */
static void predict(struct capacity *capacity)
{
    double uses = round(capacity->uses_per_request);
    const struct prediction_input input = {
        .pool_size = capacity->admin_url ? capacity->service.pool_max : (double)NAN,
        .items = uses - 1,
        .hold_s = capacity->hold_s,
        .request_timeout_s = capacity->service.request_timeout_s,
        .rate_per_s = 2 * capacity->sustainable.lower_per_s,
        .per_item = uses > 1,
        .processors = capacity->processors,
        .processor_s = capacity->processor_s,
    };
    capacity->predicted = prediction_compute(&input);
}

bool capacity_run(struct capacity *capacity, struct stop *stop, char *why, size_t why_size)
{
    struct session session = {.capacity = capacity, .stop = stop, .why = why, .why_size = why_size};
    const struct capacity_search_plan plan = {.start_per_s = capacity->start_per_s,
                                              .max_per_s = capacity->max_per_s,
                                              .precision = capacity->precision,
                                              .trial = run_trial,
                                              .argument = &session};
    service_sample_parse(&capacity->service, "");
    if (!readiness_init(&session.readiness, capacity->plan.load.target.base, capacity->admin_url,
                        capacity->admin_token_file, stop, why, why_size))
        return false;
    snprintf(why, why_size, "no boundary stood still");
    bool found = capacity_search(&plan, &capacity->sustainable);
    bool beyond = capacity->overload && capacity->sustainable.lower_per_s > 0;
    capacity->complete = found && (!beyond || overload(&session));
    readiness_destroy(&session.readiness);
    capacity_sum_up(capacity);
    predict(capacity);
    return capacity->complete;
}
