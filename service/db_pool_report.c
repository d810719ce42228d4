/* What the pool tells of itself: counts, holders, metrics. */
#include "service/db_pool_internal.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/thread_state.h"

/* What was looked at less long ago is still what it is. */
#define FRESH_NS (50 * CLOCK_NS_PER_MS)
/* So long without a timeout, and the next one begins an episode. */
#define QUIET_NS (5 * CLOCK_NS_PER_S)

static struct db_pool_counts count(const struct db_pool *pool)
{
    return (struct db_pool_counts){.state = pool->state,
                                   .generation = pool->generation,
                                   .max = pool->config.max_size,
                                   .idle = pool->counts[SLOT_IDLE],
                                   .in_use = pool->counts[SLOT_IN_USE],
                                   .connecting = pool->counts[SLOT_CONNECTING],
                                   .draining =
                                       pool->counts[SLOT_DRAINING] + pool->counts[SLOT_CANCELLING],
                                   .closing = pool->counts[SLOT_CLOSING],
                                   .waiting = pool->waiting};
}

struct db_pool_counts db_pool_count(struct db_pool *pool)
{
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    struct db_pool_counts counts = count(pool);
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    return counts;
}

/* Whether a thread of this request stands in the queue, or has just given up. */
static bool is_request_waiting(const struct db_pool *pool, const struct waiter *gave_up,
                               const char *request)
{
    if (!*request)
        return false;
    if (gave_up && strcmp(gave_up->request, request) == 0)
        return true;
    const struct waiter *waiter = pool->first;
    while (waiter && strcmp(waiter->request, request) != 0)
        waiter = waiter->next;
    return waiter != NULL;
}

/* A look, with the lock held. `waiter`: whose wait it is about; NULL: nobody's. */
static void look(const struct db_pool *pool, const struct waiter *waiter, int64_t now_ns,
                 struct db_holder *holders, struct db_pool_view *view)
{
    *view = (struct db_pool_view){.at_ns = now_ns,
                                  .counts = count(pool),
                                  .connect_failure = pool->connect_failure,
                                  .connect_failure_ns = pool->connect_failure_ns,
                                  .connect_failures = pool->connect_failures,
                                  .nested = pool->held_by_waiting,
                                  .holders = holders};
    if (waiter) {
        view->waited_ns = now_ns - waiter->from_ns;
        view->checkins = pool->checkins - waiter->checkins_before;
    }
    if (pool->checkins > 0)
        view->mean_hold_ns = pool->held_ns / (int64_t)pool->checkins;
    for (unsigned i = 0; i < pool->config.max_size; i++) {
        const struct db_lease *slot = &pool->slots[i];
        if (slot->state != SLOT_IN_USE)
            continue;
        struct db_holder *holder = &holders[view->holder_count++];
        *holder = slot->holder;
        holder->state = pool->config.connector.state(slot->connection);
        enum thread_state state;
        holder->is_alive = thread_state_works_for(holder->tid, holder->request, &state);
        /* It holds one, and waits for its items' threads, which wait for one. (Those who stand in
         * the queue themselves are in another state, and counted already.) */
        if (holder->is_alive && state == THREAD_WAITGROUP_WAIT)
            view->nested += is_request_waiting(pool, waiter, holder->request);
    }
    db_pool_diagnose(view);
}

void pool_note_timeout(struct db_pool *pool, const struct waiter *waiter, int64_t now_ns)
{
    bool is_first = pool->last_timeout_ns == 0 || now_ns - pool->last_timeout_ns > QUIET_NS;
    pool->last_timeout_ns = now_ns;
    if (now_ns - pool->last_timeout.at_ns >= FRESH_NS || pool->last_timeout.at_ns == 0)
        look(pool, waiter, now_ns, pool->last_timeout_holders, &pool->last_timeout);
    if (!is_first)
        return;
    pool->episode_began = true;
    pool->background_due = true;
    CHECK_PTHREAD(pthread_cond_signal(&pool->background_work));
}

void db_pool_look(struct db_pool *pool, enum db_pool_moment moment, struct db_holder *holders,
                  struct db_pool_view *view)
{
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    if (moment == DB_POOL_NOW) {
        look(pool, pool->first, clock_now_ns(), holders, view);
    } else {
        *view = pool->last_timeout;
        view->holders = holders;
        memcpy(holders, pool->last_timeout_holders, view->holder_count * sizeof *holders);
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
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
    write_gauge(out, "flashover_pool_ready", labels, "1 when checkouts may begin, 0 when paused.",
                counts.state == DB_POOL_READY);
    write_gauge(out, "flashover_pool_generation", labels, "How often the pool was cleared.",
                counts.generation);
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
