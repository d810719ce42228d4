#include "loadtest/report/run_json.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/options.h"
#include "loadtest/base/whole_file.h"
#include "loadtest/judge/verdict.h"
#include "loadtest/report/ledger_json.h"
#include "loadtest/report/seconds_json.h"
#include "loadtest/report/segment_json.h"
#include "loadtest/report/series_json.h"

#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static json_t *seconds_json(int64_t ns)
{
    return json_real((double)ns / (double)CLOCK_NS_PER_S);
}

static json_t *slos_json(const struct slo_list *slos)
{
    json_t *array = json_array();
    for (size_t i = 0; i < slos->count; i++)
        json_array_append_new(array, json_string(slos->items[i].text));
    return array;
}

static json_t *segments_json(const struct load_result *result, uint64_t *requests)
{
    json_t *array = json_array();
    *requests = 0;
    for (unsigned i = 0; i < result->segment_count; i++) {
        const struct load_result_segment *kept = &result->segments[i];
        json_array_append_new(array, segment_json(&kept->segment, kept->requests));
        *requests += kept->requests;
    }
    return array;
}

/* The load as it was asked for, and what was changed while it ran. */
static json_t *plan_json(const struct test_plan *plan, const struct load_result *result)
{
    const struct load_settings *settings = &plan->load;
    const struct schedule *schedule = &settings->schedule;
    bool is_feed = settings->check == LOAD_CHECK_FEED;
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)schedule_hash(schedule));
    uint64_t count;
    json_t *segments = segments_json(result, &count);
    if (result->segment_count == 0)
        count = schedule->count;
    json_t *requests = settings->closed ? json_null() : json_integer((json_int_t)count);
    return json_pack(
        "{s:s, s:s, s:s, s:f, s:f, s:o, s:o, s:I, s:s, s:s, s:o, s:f, s:I, s:i, s:i, s:f, s:f, "
        "s:o, s:o}",
        "url", settings->target.url, "loop", settings->closed ? "closed" : "open", "arrivals",
        schedule_arrivals_name(schedule->arrivals), "rate", schedule_mean_rate(schedule),
        "duration_s", schedule->duration_s, "stages", stages_json(schedule), "requests", requests,
        "seed", (json_int_t)schedule->seed, "schedule_hash", hash, "check",
        is_feed ? "feed" : "status", "items", is_feed ? json_integer(settings->items) : json_null(),
        "timeout_s", (double)settings->timeout_ns / (double)CLOCK_NS_PER_S, "max_in_flight",
        (json_int_t)settings->max_in_flight, "threads", (int)settings->threads, "retries",
        (int)settings->retries, "retry_backoff_s",
        (double)settings->retry_backoff_ns / (double)CLOCK_NS_PER_S, "retry_budget_percent",
        settings->retry_budget_percent, "slo", slos_json(&plan->slos), "segments", segments);
}

/* That, and where and when it was run. */
static json_t *run_json(const struct test_plan *plan, const struct load_result *result)
{
    const struct generator_stats *generator = &result->stats->generator;
    struct rlimit nofile = {0};
    json_t *root = plan_json(plan, result);
    getrlimit(RLIMIT_NOFILE, &nofile);
    json_t *closed = plan->load.closed ? json_integer((json_int_t)plan->load.closed) : json_null();
    json_t *more = json_pack(
        "{s:o, s:s, s:i, s:I, s:f, s:o, s:f, s:o, s:f}", "closed", closed, "build", options_version,
        "cpus", (int)sysconf(_SC_NPROCESSORS_ONLN), "nofile", (json_int_t)nofile.rlim_cur,
        "started_at", result->started_unix_s, "elapsed_s", seconds_json(result->elapsed_ns),
        "slot_s", (double)result->stats->timeline.slot_ns / (double)CLOCK_NS_PER_S, "cpu_s",
        seconds_json(generator->cpu_ns), "busiest_thread", generator->busiest_share);
    json_object_update(root, more);
    json_decref(more);
    return root;
}

static void append_reason(void *argument, const char *sentence)
{
    json_array_append_new(argument, json_string(sentence));
}

static json_t *thresholds_json(const struct slo_list *slos, const struct load_stats *stats)
{
    char measured[96];
    json_t *array = json_array();
    for (size_t i = 0; i < slos->count; i++) {
        bool kept = slo_holds(&slos->items[i], stats, measured, sizeof measured);
        json_array_append_new(array, json_pack("{s:s, s:b, s:s}", "text", slos->items[i].text,
                                               "kept", kept, "measured", measured));
    }
    return array;
}

static json_t *verdict_json(const struct test_plan *plan, const struct load_result *result)
{
    json_t *reasons = json_array();
    enum exit_code code = verdict_exit_code(result, plan);
    verdict_explain(result, plan, append_reason, reasons);
    return json_pack("{s:s, s:i, s:o, s:o}", "status", verdict_word(code), "exit_code", (int)code,
                     "reasons", reasons, "thresholds", thresholds_json(&plan->slos, result->stats));
}

static json_t *ledger_json(const struct load_result *result)
{
    json_t *root = ledger_json_build(&result->stats->ledger);
    json_object_set_new(root, "balanced", json_boolean(result->balanced));
    return root;
}

static json_t *errors_json(const struct error_table *errors, unsigned slots)
{
    json_t *array = json_array();
    for (size_t i = 0; i < errors->row_count; i++) {
        const struct error_row *row = &errors->rows[i];
        json_t *over_time = json_array();
        for (unsigned j = 0; j < slots; j++)
            json_array_append_new(over_time, json_integer(row->over_time[j]));
        json_array_append_new(
            array, json_pack("{s:s, s:i, s:i, s:s, s:I, s:o, s:s, s:o}", "outcome",
                             ledger_outcome_key(row->outcome), "http_status", row->http_status,
                             "ecode", row->ecode, "message", row->message, "count",
                             (json_int_t)row->count, "first_at_s", seconds_json(row->first_at_ns),
                             "request_id", row->request_id, "over_time", over_time));
    }
    return array;
}

/* Of nothing there is no percentile: null. */
static json_t *ms_json(const struct histogram *histogram, double us)
{
    return histogram->count > 0 ? json_real(us / 1e3) : json_null();
}

/* `censored`: the run's, where unanswered requests are in the histogram; else NULL. */
static json_t *latency_json(const struct histogram *histogram, const struct load_stats *censored)
{
    static const struct {
        const char *key;
        double percent;
    } percentiles[] = {{"p50", 50}, {"p90", 90},     {"p95", 95},
                       {"p99", 99}, {"p99_9", 99.9}, {"max", 100}};
    json_t *at_least = json_array();
    json_t *root = json_pack("{s:I, s:o}", "count", (json_int_t)histogram->count, "mean",
                             ms_json(histogram, histogram_mean_us(histogram)));
    if (censored && censored->censored_from_ns != CLOCK_NEVER)
        json_array_append_new(at_least, json_string("mean"));
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++) {
        double percent = percentiles[i].percent;
        json_object_set_new(
            root, percentiles[i].key,
            ms_json(histogram, (double)histogram_percentile_us(histogram, percent)));
        if (censored && load_stats_is_censored(censored, percent))
            json_array_append_new(at_least, json_string(percentiles[i].key));
    }
    json_object_set_new(root, "at_least", at_least);
    return root;
}

static json_t *latencies_json(const struct load_stats *stats)
{
    json_t *response = latency_json(&stats->response_all, stats);
    json_object_set_new(response, "at_least_from_ms",
                        stats->censored_from_ns == CLOCK_NEVER
                            ? json_null()
                            : json_real((double)stats->censored_from_ns / 1e6));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "response", response, "response_ok",
                     latency_json(&stats->response_ok, NULL), "service",
                     latency_json(&stats->service, NULL), "first_byte",
                     latency_json(&stats->first_byte, NULL), "connect",
                     latency_json(&stats->connect, NULL), "lag", latency_json(&stats->lag, NULL));
}

static json_t *service_json(const struct load_result *result)
{
    const struct scrape_result *service = &result->service;
    if (!result->has_service)
        return json_null();
    json_t *failures =
        json_pack("{s:f, s:f, s:f, s:f}", "checkout_timeout",
                  service->item_failures[ITEM_FAILURE_CHECKOUT_TIMEOUT], "write_deadline",
                  service->item_failures[ITEM_FAILURE_WRITE_DEADLINE], "read_deadline",
                  service->item_failures[ITEM_FAILURE_READ_DEADLINE], "other",
                  service->item_failures[ITEM_FAILURE_OTHER]);
    return json_pack("{s:i, s:i, s:b, s:o, s:o, s:o, s:o, s:f, s:f, s:f, s:o}", "samples",
                     (int)service->samples, "failed_samples", (int)service->failed_samples,
                     "down_at_end", service->down_at_end, "pool_max",
                     json_real_or_null(service->last.pool_max), "pool_used_peak",
                     json_real_or_null(service->pool_used_peak), "pool_pending_peak",
                     json_real_or_null(service->pool_pending_peak), "threads_peak",
                     json_real_or_null(service->threads_peak), "checkout_timeouts",
                     service->timeouts, "use_time_sum_s", service->use_time_sum_s, "use_time_count",
                     service->use_time_count, "item_failures", failures);
}

json_t *run_json_build(const struct test_plan *plan, const struct load_result *result)
{
    const struct load_stats *stats = result->stats;
    const struct feed_defects *defects = &stats->defects;
    json_t *integrity = json_pack(
        "{s:I, s:I, s:I, s:I, s:I}", "lost", (json_int_t)defects->lost, "foreign",
        (json_int_t)defects->foreign, "duplicate", (json_int_t)defects->duplicate, "corrupt",
        (json_int_t)defects->corrupt, "malformed", (json_int_t)defects->malformed);
    /* null: not known */
    json_t *crashes =
        result->has_service ? json_integer((json_int_t)result->service.restarts) : json_null();
    json_t *spectrum =
        json_pack("{s:o, s:o}", "response", series_json_spectrum(&stats->response_all), "service",
                  series_json_spectrum(&stats->service));
    json_t *seconds =
        seconds_json_build(&stats->seconds, seconds_begun(&stats->seconds, result->elapsed_ns));
    return json_pack("{s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "run",
                     run_json(plan, result), "verdict", verdict_json(plan, result), "ledger",
                     ledger_json(result), "errors",
                     errors_json(&stats->errors, series_json_slots(result)), "errors_other",
                     (json_int_t)stats->errors.other, "latency_ms", latencies_json(stats),
                     "integrity", integrity, "crashes", crashes, "service", service_json(result),
                     "series", series_json_build(result), "spectrum", spectrum, "seconds", seconds);
}

bool run_json_write_file(const char *path, unsigned mode, const json_t *root, char *why,
                         size_t why_size)
{
    char *json = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    struct text text = {0};
    bool written = false;
    if (json)
        text_add(&text, json);
    text_add(&text, "\n");
    if (!json || text.failed)
        snprintf(why, why_size, "out of memory");
    else
        written = whole_file_write(path, mode, text.data, text.size_bytes, why, why_size);
    text_clear(&text);
    free(json);
    return written;
}
