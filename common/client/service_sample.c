#include "common/client/service_sample.h"

#include "common/check.h"

#include <math.h>
#include <stdbool.h>

#define LABELS_SIZE 512

struct metric_line {
    char name[128];
    char labels[LABELS_SIZE]; /* between the braces, "" without */
    double value;
};

struct wanted {
    const char *name;
    const char *label; /* how one label must stand there: state="used"; NULL: any */
    size_t offset;
};

static const struct wanted wanted[] = {
    {"process_start_time_seconds", NULL, offsetof(struct service_sample, start_time_s)},
    {"db_client_connection_count", "state=\"used\"", offsetof(struct service_sample, pool_used)},
    {"db_client_connection_count", "state=\"idle\"", offsetof(struct service_sample, pool_idle)},
    {"db_client_connection_max", NULL, offsetof(struct service_sample, pool_max)},
    {"db_client_connection_pending_requests", NULL, offsetof(struct service_sample, pool_pending)},
    {"db_client_connection_timeouts_total", NULL, offsetof(struct service_sample, timeouts)},
    {"db_client_connection_use_time_seconds_sum", NULL,
     offsetof(struct service_sample, use_time_sum_s)},
    {"db_client_connection_use_time_seconds_count", NULL,
     offsetof(struct service_sample, use_time_count)},
    {"flashover_config_items", NULL, offsetof(struct service_sample, items)},
    {"flashover_config_query_latency_seconds", NULL,
     offsetof(struct service_sample, query_latency_s)},
    {"flashover_config_request_timeout_seconds", NULL,
     offsetof(struct service_sample, request_timeout_s)},
    {"flashover_threads", NULL, offsetof(struct service_sample, threads)},
    {"flashover_database_backends", NULL, offsetof(struct service_sample, backends)},
};

static const char *const thread_states[THREAD_KIND_COUNT] = {
    [THREAD_KIND_IDLE] = "idle",
    [THREAD_KIND_RUNNING] = "running",
    [THREAD_KIND_POOL_CHECKOUT] = "pool checkout",
    [THREAD_KIND_QUERY] = "query",
    [THREAD_KIND_MAP_LOCK] = "map lock",
    [THREAD_KIND_LOG_LOCK] = "log lock",
    [THREAD_KIND_WAITGROUP_WAIT] = "WaitGroup wait",
};

const char *service_sample_thread_state(enum thread_kind kind)
{
    assert(kind < THREAD_KIND_COUNT);
    return thread_states[kind];
}

static const char *const failure_labels[ITEM_FAILURE_OTHER] = {
    [ITEM_FAILURE_CHECKOUT_TIMEOUT] = "message=\"checkout_timeout\"",
    [ITEM_FAILURE_WRITE_DEADLINE] = "message=\"write_deadline\"",
    [ITEM_FAILURE_READ_DEADLINE] = "message=\"read_deadline\"",
};

/* Whether `label` stands among the labels as a whole. A value that contains such text would deceive
 * it; the service's values are fixed words. */
static bool has_label(const char *labels, const char *label)
{
    for (const char *at = labels; (at = strstr(at, label)); at++) {
        char next = at[strlen(label)];
        bool starts = at == labels || at[-1] == ',' || at[-1] == ' ';
        if (starts && (next == '\0' || next == ',' || next == ' '))
            return true;
    }
    return false;
}

/* Reads `name{labels} value`; false for comments, empty lines and what is no such line. */
static bool parse_line(const char *line, size_t length, struct metric_line *out)
{
    char text[1024];
    if (length == 0 || length >= sizeof text || *line == '#')
        return false;
    memcpy(text, line, length);
    text[length] = '\0';
    size_t name_length = strcspn(text, "{ ");
    if (name_length == 0 || name_length >= sizeof out->name || !text[name_length])
        return false;
    memcpy(out->name, text, name_length);
    out->name[name_length] = '\0';
    out->labels[0] = '\0';
    const char *value = text + name_length;
    if (*value == '{') {
        const char *close = strrchr(value, '}');
        if (!close || (size_t)(close - value) > sizeof out->labels)
            return false;
        size_t labels_length = (size_t)(close - value) - 1;
        memcpy(out->labels, value + 1, labels_length);
        out->labels[labels_length] = '\0';
        value = close + 1;
    }
    char *end;
    out->value = strtod(value, &end);
    return end != value;
}

static void add(double *field, double value)
{
    *field = isnan(*field) ? value : *field + value;
}

static void take_threads(struct service_sample *sample, const struct metric_line *line)
{
    for (size_t i = 0; i < THREAD_KIND_COUNT; i++) {
        char label[64];
        snprintf(label, sizeof label, "state=\"%s\"", thread_states[i]);
        if (has_label(line->labels, label))
            add(&sample->threads_by_state[i], line->value);
    }
}

static void take_line(struct service_sample *sample, const struct metric_line *line)
{
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (strcmp(line->name, wanted[i].name) == 0 &&
            (!wanted[i].label || has_label(line->labels, wanted[i].label)))
            add((double *)(void *)((char *)sample + wanted[i].offset), line->value);
    if (strcmp(line->name, "flashover_threads") == 0) {
        take_threads(sample, line);
        return;
    }
    if (strcmp(line->name, "flashover_item_failures_total") != 0)
        return;
    size_t kind = 0;
    while (kind < ITEM_FAILURE_OTHER && !has_label(line->labels, failure_labels[kind]))
        kind++;
    add(&sample->item_failures[kind], line->value);
}

void service_sample_parse(struct service_sample *sample, const char *page)
{
    double *fields = (double *)sample;
    for (size_t i = 0; i < sizeof *sample / sizeof(double); i++)
        fields[i] = NAN;
    while (*page) {
        struct metric_line line;
        size_t length = strcspn(page, "\n");
        if (parse_line(page, length, &line))
            take_line(sample, &line);
        page += length + (page[length] == '\n');
    }
}
