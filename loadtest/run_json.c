#include "loadtest/run_json.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/options.h"
#include "loadtest/verdict.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

json_t *run_json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *seconds_json(int64_t ns)
{
    return json_real((double)ns / (double)CLOCK_NS_PER_S);
}

static json_t *settings_json(const struct load_settings *settings, const struct load_result *result)
{
    const struct schedule *schedule = &settings->schedule;
    bool is_feed = settings->check == LOAD_CHECK_FEED;
    return json_pack("{s:s, s:s, s:f, s:f, s:I, s:I, s:s, s:o, s:f, s:I, s:i, s:s, s:i, s:o}",
                     "url", settings->target.url, "arrivals", "constant", "rate",
                     schedule->rate_per_s, "duration_s", schedule->duration_s, "requests",
                     (json_int_t)schedule->count, "seed", (json_int_t)schedule->seed, "check",
                     is_feed ? "feed" : "status", "items",
                     is_feed ? json_integer(settings->items) : json_null(), "timeout_s",
                     (double)settings->timeout_ns / (double)CLOCK_NS_PER_S, "max_in_flight",
                     (json_int_t)settings->max_in_flight, "threads", (int)settings->threads,
                     "version", options_version, "cpus", (int)sysconf(_SC_NPROCESSORS_ONLN),
                     "elapsed_s", seconds_json(result->elapsed_ns));
}

static void append_reason(void *argument, const char *sentence)
{
    json_array_append_new(argument, json_string(sentence));
}

static json_t *verdict_json(const struct load_settings *settings, const struct load_result *result)
{
    json_t *reasons = json_array();
    verdict_explain(result, settings, append_reason, reasons);
    return json_pack("{s:s, s:i, s:o}", "status", verdict_word(result), "exit_code",
                     (int)verdict_exit_code(result), "reasons", reasons);
}

static json_t *ledger_json(const struct load_result *result)
{
    const struct ledger *ledger = &result->stats->ledger;
    json_t *root = json_pack("{s:I, s:I}", "scheduled", (json_int_t)ledger->scheduled, "sent",
                             (json_int_t)ledger->sent);
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        json_object_set_new(root, ledger_outcome_key((enum outcome)i),
                            json_integer((json_int_t)ledger->outcomes[i]));
    json_object_set_new(root, "balanced", json_boolean(result->balanced));
    return root;
}

static json_t *errors_json(const struct error_table *errors)
{
    json_t *array = json_array();
    for (size_t i = 0; i < errors->row_count; i++) {
        const struct error_row *row = &errors->rows[i];
        json_array_append_new(array, json_pack("{s:s, s:i, s:i, s:s, s:I, s:o, s:s}", "outcome",
                                               ledger_outcome_key(row->outcome), "http_status",
                                               row->http_status, "ecode", row->ecode, "message",
                                               row->message, "count", (json_int_t)row->count,
                                               "first_at_s", seconds_json(row->first_at_ns),
                                               "request_id", row->request_id));
    }
    return array;
}

static json_t *latency_json(const struct histogram *histogram, uint64_t timeouts)
{
    static const struct {
        const char *key;
        double percent;
    } percentiles[] = {{"p50", 50}, {"p90", 90},     {"p95", 95},
                       {"p99", 99}, {"p99_9", 99.9}, {"max", 100}};
    json_t *root = json_pack("{s:I, s:I, s:f}", "count", (json_int_t)histogram->count, "censored",
                             (json_int_t)timeouts, "mean", histogram_mean_us(histogram) / 1e3);
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++)
        json_object_set_new(
            root, percentiles[i].key,
            json_real((double)histogram_percentile_us(histogram, percentiles[i].percent) / 1e3));
    return root;
}

static json_t *latencies_json(const struct load_stats *stats)
{
    uint64_t timeouts = stats->ledger.outcomes[OUTCOME_TIMEOUT];
    return json_pack("{s:o, s:o, s:o, s:o}", "response",
                     latency_json(&stats->response_all, timeouts), "response_ok",
                     latency_json(&stats->response_ok, 0), "service",
                     latency_json(&stats->service, 0), "lag", latency_json(&stats->lag, 0));
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
                     run_json_number(service->last.pool_max), "pool_used_peak",
                     run_json_number(service->pool_used_peak), "pool_pending_peak",
                     run_json_number(service->pool_pending_peak), "threads_peak",
                     run_json_number(service->threads_peak), "checkout_timeouts", service->timeouts,
                     "use_time_sum_s", service->use_time_sum_s, "use_time_count",
                     service->use_time_count, "item_failures", failures);
}

json_t *run_json_build(const struct load_settings *settings, const struct load_result *result)
{
    const struct load_stats *stats = result->stats;
    const struct feed_defects *defects = &stats->defects;
    json_t *integrity = json_pack(
        "{s:I, s:I, s:I, s:I, s:I}", "lost", (json_int_t)defects->lost, "foreign",
        (json_int_t)defects->foreign, "duplicate", (json_int_t)defects->duplicate, "corrupt",
        (json_int_t)defects->corrupt, "malformed", (json_int_t)defects->malformed);
    /* null: nobody looked */
    json_t *crashes =
        result->has_service ? json_integer((json_int_t)result->service.restarts) : json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "run",
                     settings_json(settings, result), "verdict", verdict_json(settings, result),
                     "ledger", ledger_json(result), "errors", errors_json(&stats->errors),
                     "errors_other", (json_int_t)stats->errors.other, "latency_ms",
                     latencies_json(stats), "integrity", integrity, "crashes", crashes, "service",
                     service_json(result));
}

int run_json_write_file(const char *path, const json_t *root, char *why, size_t why_size)
{
    char temporary[4096];
    int fd = -1;
    FILE *file = NULL;
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary) {
        snprintf(why, why_size, "the name is too long");
        return -1;
    }
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd >= 0)
        file = fdopen(fd, "w");
    if (!file)
        goto failed;
    fd = -1; /* the file owns it */
    fchmod(fileno(file), 0644);
    bool written = json_dumpf(root, file, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) == 0 &&
                   fputc('\n', file) != EOF;
    if (fclose(file) != 0 || !written || rename(temporary, path) != 0)
        goto failed;
    return 0;
failed:
    snprintf(why, why_size, "cannot write %s: %s", path, strerrordesc_np(errno));
    if (fd >= 0)
        close(fd);
    unlink(temporary);
    return -1;
}
