#include "loadtest/capacity/report.h"

#include "common/check.h"
#include "common/json.h"
#include "loadtest/report/run_json.h"

#include <inttypes.h>
#include <math.h>

static void add_trials(struct text *out, const struct capacity *capacity)
{
    text_addf(out, "\n%-12s %9s %6s %10s %9s %9s  %s\n", "trial", "offered/s", "for", "right/s",
              "p50 ms", "p99 ms", "thresholds");
    for (size_t i = 0; i < capacity->trial_count; i++) {
        const struct capacity_trial *trial = &capacity->trials[i];
        char p99[32];
        snprintf(p99, sizeof p99, "%s%.1f", trial->p99_is_at_least ? ">=" : "", trial->p99_ms);
        text_addf(out, "%-12s %9.4g %4.0f s %10.4g %9.1f %9s  ", capacity_phase_name(trial->phase),
                  trial->rate_per_s, trial->duration_s, trial->goodput_per_s, trial->p50_ms, p99);
        text_addf(out, "%.38s\n", trial->passed ? "kept" : trial->reason);
    }
}

static void add_slos(struct text *out, const struct slo_list *slos)
{
    for (size_t i = 0; i < slos->count; i++)
        text_addf(out, "%s%s", i > 0 ? ", " : "", slos->items[i].text);
}

static const struct capacity_trial *crashed_trial(const struct capacity *capacity)
{
    for (size_t i = 0; i < capacity->trial_count; i++)
        if (capacity->trials[i].crashes > 0)
            return &capacity->trials[i];
    return NULL;
}

static void add_sustainable(struct text *out, const struct capacity *capacity)
{
    const struct capacity_bounds *bounds = &capacity->sustainable;
    const struct capacity_trial *crashed = crashed_trial(capacity);
    text_add(out, "\nsustainable_rate  ");
    if (bounds->lower_per_s == 0 && crashed)
        text_addf(out, "0: crashed at %.4g req/s", crashed->rate_per_s);
    else if (bounds->lower_per_s == 0)
        text_addf(out, "0: not even %.4g req/s", bounds->upper_per_s);
    else if (isinf(bounds->upper_per_s))
        text_addf(out, "at least %.4g req/s, the highest that was tried", bounds->lower_per_s);
    else
        text_addf(out, "[%.4g, %.4g] req/s", bounds->lower_per_s, bounds->upper_per_s);
    text_add(out, "   under ");
    add_slos(out, &capacity->plan.slos);
    if (capacity->upper_invalid)
        text_add(out, "\n                  beyond that the load tester was the bottleneck, not the "
                      "service");
    text_addf(out, "\nsaturation_rate   %.4g right answers/s at the most\n",
              capacity->saturation_per_s);
    if (isnan(capacity->collapse_per_s))
        text_add(out, "collapse_rate     none seen: never less than half of that\n");
    else
        text_addf(out,
                  "collapse_rate     %.4g req/s offered: less than half of that gets through\n",
                  capacity->collapse_per_s);
}

static void add_recovery(struct text *out, const struct capacity *capacity)
{
    for (size_t i = 0; i < capacity->trial_count; i++) {
        const struct capacity_trial *trial = &capacity->trials[i];
        if (trial->phase == CAPACITY_OVERLOAD)
            text_addf(
                out, "time to recover   %s%.2f s after %.0f s at %.2g x (%.4g right/s meanwhile)\n",
                trial->recovery_is_at_least ? ">=" : "", trial->recovery_s, trial->duration_s,
                trial->rate_per_s / capacity->sustainable.lower_per_s, trial->goodput_per_s);
    }
}

static void add_prediction(struct text *out, const struct capacity *capacity)
{
    const struct prediction *predicted = &capacity->predicted;
    double lower = capacity->sustainable.lower_per_s;
    double paper = fmin(predicted->capacity_per_s, predicted->by_processors_per_s);
    if (isnan(predicted->capacity_per_s))
        text_add(out, "on paper          unknown without the service's metrics (--admin-url)\n");
    else
        text_addf(out,
                  "on paper          P / (checkouts * h) = %.0f / (%.0f * %.2f ms) = %.4g req/s by "
                  "connections\n",
                  capacity->service.pool_max, round(capacity->uses_per_request),
                  capacity->hold_s * 1e3, predicted->capacity_per_s);
    if (!isnan(predicted->by_processors_per_s))
        text_addf(out,
                  "                  processors / their time a request = %u / %.3g ms = %.4g req/s "
                  "by processors\n",
                  capacity->processors, capacity->processor_s * 1e3,
                  predicted->by_processors_per_s);
    if (!isnan(predicted->capacity_per_s) && lower > 0 &&
        isfinite(capacity->sustainable.upper_per_s))
        text_addf(out, "                  measured / the lowest on paper = %.2f%s\n", lower / paper,
                  lower < 0.8 * paper ? ": something else binds first" : "");
}

void capacity_report_write(struct text *out, const struct capacity *capacity)
{
    text_addf(out,
              "Capacity of %s\nopen loop, constant arrivals; trials of at least %d s and %d "
              "requests, each drained to the last\n",
              capacity->plan.load.target.url, CAPACITY_TRIAL_S, CAPACITY_TRIAL_REQUESTS);
    add_trials(out, capacity);
    if (!capacity->complete)
        text_add(out, "\nNOT COMPLETE: what follows is what is known so far.\n");
    add_sustainable(out, capacity);
    add_recovery(out, capacity);
    add_prediction(out, capacity);
}

static json_t *trial_json(const struct capacity_trial *trial)
{
    json_t *recovery = trial->phase == CAPACITY_OVERLOAD
                           ? json_pack("{s:f, s:b}", "s", trial->recovery_s, "at_least",
                                       trial->recovery_is_at_least)
                           : json_null();
    return json_pack(
        "{s:s, s:f, s:f, s:b, s:b, s:o, s:f, s:f, s:b, s:I, s:I, s:i, s:o, s:o, s:o, s:s, s:o}",
        "phase", capacity_phase_name(trial->phase), "rate", trial->rate_per_s, "duration_s",
        trial->duration_s, "passed", trial->passed, "invalid", trial->invalid, "goodput",
        json_real_or_null(trial->goodput_per_s), "p50_ms", trial->p50_ms, "p99_ms", trial->p99_ms,
        "p99_at_least", trial->p99_is_at_least, "scheduled", (json_int_t)trial->scheduled, "ok",
        (json_int_t)trial->ok, "crashes", (int)trial->crashes, "hold_ms",
        json_real_or_null(trial->hold_s * 1e3), "uses_per_request",
        json_real_or_null(trial->uses_per_request), "processor_ms",
        json_real_or_null(trial->processor_s * 1e3), "reason", trial->reason, "recovery", recovery);
}

json_t *capacity_report_json(const struct capacity *capacity)
{
    json_t *trials = json_array();
    json_t *slos = json_array();
    const struct capacity_trial *crashed = crashed_trial(capacity);
    for (size_t i = 0; i < capacity->trial_count; i++)
        json_array_append_new(trials, trial_json(&capacity->trials[i]));
    for (size_t i = 0; i < capacity->plan.slos.count; i++)
        json_array_append_new(slos, json_string(capacity->plan.slos.items[i].text));
    json_t *prediction = json_pack(
        "{s:o, s:o, s:o, s:o, s:i, s:o, s:o}", "pool_size",
        json_real_or_null(capacity->service.pool_max), "uses_per_request",
        json_real_or_null(capacity->uses_per_request), "hold_ms",
        json_real_or_null(capacity->hold_s * 1e3), "rate",
        json_real_or_null(capacity->predicted.capacity_per_s), "processors",
        (int)capacity->processors, "processor_ms", json_real_or_null(capacity->processor_s * 1e3),
        "rate_by_processors", json_real_or_null(capacity->predicted.by_processors_per_s));
    return json_pack("{s:s, s:b, s:b, s:o, s:[o, o], s:f, s:o, s:o, s:o, s:o}", "url",
                     capacity->plan.load.target.url, "complete", capacity->complete,
                     "upper_invalid", capacity->upper_invalid, "slo", slos, "sustainable_rate",
                     json_real(capacity->sustainable.lower_per_s),
                     json_real_or_null(capacity->sustainable.upper_per_s), "saturation_rate",
                     capacity->saturation_per_s, "collapse_rate",
                     json_real_or_null(capacity->collapse_per_s), "crashed_at",
                     crashed ? json_real(crashed->rate_per_s) : json_null(), "prediction",
                     prediction, "trials", trials);
}
