#include "service/http/service_metrics.h"

#include "common/check.h"

#include <sys/resource.h>
#include <unistd.h>

/* The statuses that this service answers; the last stands for any other. */
static const int statuses[SERVICE_STATUSES] = {200, 400, 401, 404, 405, 413,
                                               500, 502, 503, 504, -1};

void service_metrics_observe(struct service_metrics *metrics, bool is_feed, int status,
                             int64_t duration_ns)
{
    size_t i = 0;
    while (i < SERVICE_STATUSES - 1 && statuses[i] != status)
        i++;
    metrics_histogram_observe(is_feed ? &metrics->feed_duration[i] : &metrics->other_duration[i],
                              duration_ns);
}

static uint64_t observations(const struct metrics_histogram *histogram)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= METRICS_BUCKETS; i++)
        total += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
    return total;
}

/* Without a series at 0, a rate does not see the first burst of errors: with `from_zero` each
 * status has one before it was ever answered. */
static void write_durations(struct text *out, const char *route, bool from_zero,
                            const struct metrics_histogram durations[SERVICE_STATUSES])
{
    for (size_t i = 0; i < SERVICE_STATUSES; i++) {
        struct text labels = {0};
        char status[16];
        if (observations(&durations[i]) == 0 && !(from_zero && statuses[i] > 0))
            continue;
        snprintf(status, sizeof status, "%d", statuses[i]);
        metrics_label(&labels, "http_route", route);
        metrics_label(&labels, "http_response_status_code", statuses[i] > 0 ? status : "other");
        if (!labels.failed)
            metrics_histogram_write(out, "http_server_request_duration_seconds", labels.data,
                                    &durations[i]);
        text_clear(&labels);
    }
}

static void write_failures(struct text *out, const char *name, const char *help,
                           const _Atomic uint64_t failures[FAILURE_KINDS])
{
    metrics_family(out, name, "counter", help);
    for (enum failure_kind kind = FAILURE_NONE + 1; kind < FAILURE_KINDS; kind++) {
        struct text labels = {0};
        metrics_label(&labels, "message", failure_name(kind));
        if (!labels.failed)
            metrics_sample(out, name, labels.data, (double)atomic_load(&failures[kind]));
        text_clear(&labels);
    }
}

void service_metrics_write(const struct service_metrics *metrics, struct text *out)
{
    metrics_family(out, "http_server_request_duration_seconds", "histogram",
                   "Time from a request's headers to its answer, by status.");
    write_durations(out, "/v1/feeds/{feed_id}", true, metrics->feed_duration);
    write_durations(out, "other", false, metrics->other_duration);
    write_failures(out, "flashover_request_failures_total",
                   "Failed requests by the failure that decided.", metrics->request_failures);
    write_failures(out, "flashover_item_failures_total",
                   "Failed items of requests by failure, also those that failed after their "
                   "request was answered.",
                   metrics->item_failures);
}

void service_metrics_write_process(double started_unix_s, struct text *out)
{
    struct rusage usage;
    long pages = 0;
    getrusage(RUSAGE_SELF, &usage);
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm) {
        if (fscanf(statm, "%*d %ld", &pages) != 1)
            pages = 0;
        fclose(statm);
    }
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    metrics_family(out, "process_start_time_seconds", "gauge",
                   "When the process started, in Unix time.");
    text_addf(out, "process_start_time_seconds %.3f\n", started_unix_s);
    metrics_family(out, "process_cpu_seconds_total", "counter", "CPU time used.");
    metrics_sample(out, "process_cpu_seconds_total", "", cpu_s);
    metrics_family(out, "process_resident_memory_bytes", "gauge", "Resident memory.");
    metrics_sample(out, "process_resident_memory_bytes", "",
                   (double)pages * (double)sysconf(_SC_PAGESIZE));
}
