/* What the pool tells of itself: counts, holders, metrics. */
#include "service/db_pool_internal.h"

#include "common/check.h"
#include "common/clock.h"

struct db_pool_counts db_pool_count(struct db_pool *pool)
{
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    struct db_pool_counts counts = {.max = pool->config.max_size,
                                    .idle = pool->counts[SLOT_IDLE],
                                    .in_use = pool->counts[SLOT_IN_USE],
                                    .connecting = pool->counts[SLOT_CONNECTING],
                                    .draining = pool->counts[SLOT_DRAINING],
                                    .closing = pool->counts[SLOT_CLOSING],
                                    .waiting = pool->waiting};
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    return counts;
}

unsigned db_pool_holders(struct db_pool *pool, struct db_holder *holders, size_t capacity)
{
    unsigned count = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    for (unsigned i = 0; i < pool->config.max_size; i++) {
        if (pool->slots[i].state != SLOT_IN_USE)
            continue;
        if (count < capacity)
            holders[count] = pool->slots[i].holder;
        count++;
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    return count;
}

static void write_gauge(struct text *out, const char *name, const char *labels, const char *help,
                        double value)
{
    metrics_family(out, name, "gauge", help);
    metrics_sample(out, name, labels, value);
}

static void write_histogram(struct text *out, const char *name, const char *labels,
                            const char *help, const struct metrics_histogram *histogram)
{
    metrics_family(out, name, "histogram", help);
    metrics_histogram_write(out, name, labels, histogram);
}

static void write_by_state(struct text *out, const char *name, const char *pool_name,
                           const char *label, const char *state, unsigned value)
{
    struct text labels = {0};
    metrics_label(&labels, "db_client_connection_pool_name", pool_name);
    metrics_label(&labels, label, state);
    if (!labels.failed)
        metrics_sample(out, name, labels.data, value);
    text_clear(&labels);
}

void db_pool_write_metrics(struct db_pool *pool, const char *pool_name, struct text *out)
{
    struct db_pool_counts counts = db_pool_count(pool);
    struct text pool_label = {0};
    metrics_label(&pool_label, "db_client_connection_pool_name", pool_name);
    const char *labels = pool_label.failed ? "" : pool_label.data;

    metrics_family(out, "db_client_connection_count", "gauge",
                   "Connections by state (idle, used).");
    write_by_state(out, "db_client_connection_count", pool_name, "state", "idle", counts.idle);
    write_by_state(out, "db_client_connection_count", pool_name, "state", "used", counts.in_use);
    metrics_family(out, "flashover_pool_connections", "gauge",
                   "Connections in the states that OpenTelemetry has no name for.");
    write_by_state(out, "flashover_pool_connections", pool_name, "state", "connecting",
                   counts.connecting);
    write_by_state(out, "flashover_pool_connections", pool_name, "state", "draining",
                   counts.draining);
    write_by_state(out, "flashover_pool_connections", pool_name, "state", "closing",
                   counts.closing);
    write_gauge(out, "db_client_connection_idle_max", labels, "The most idle connections kept.",
                counts.max);
    write_gauge(out, "db_client_connection_idle_min", labels, "The fewest connections kept open.",
                pool->config.min_size);
    write_gauge(out, "db_client_connection_max", labels, "Max pool size.", counts.max);
    write_gauge(out, "db_client_connection_pending_requests", labels, "Threads in the wait queue.",
                counts.waiting);
    metrics_family(out, "db_client_connection_timeouts_total", "counter",
                   "Checkouts that timed out.");
    metrics_sample(out, "db_client_connection_timeouts_total", labels,
                   (double)atomic_load(&pool->timeouts));
    write_histogram(out, "db_client_connection_create_time_seconds", labels,
                    "Time to make a connection.", &pool->create_time);
    write_histogram(out, "db_client_connection_wait_time_seconds", labels,
                    "Time from checkout to hand-over or failure.", &pool->wait_time);
    write_histogram(out, "db_client_connection_use_time_seconds", labels,
                    "Time from hand-over to check-in: the h of the capacity formula.",
                    &pool->use_time);
    text_clear(&pool_label);
}
