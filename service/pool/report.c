/* The pool's counts, holders and metrics, for the outside. */
#include "service/pool/lock.h"
#include "service/pool/pool_private.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/base/thread_state.h"

/* A younger view is reused. */
#define FRESH_NS (50 * CLOCK_NS_PER_MS)
/* After so long without a timeout, the next one begins an episode. */
#define QUIET_NS (5 * CLOCK_NS_PER_S)

static struct db_pool_counts count(const struct db_pool *pool)
{
    pool_assert_held(pool);
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
    pool_lock(pool);
    struct db_pool_counts counts = count(pool);
    pool_unlock(pool);
    return counts;
}

/* ---- nesting by request */

static int compare_requests(const void *left, const void *right)
{
    const struct db_holder *const *a = left;
    const struct db_holder *const *b = right;
    return strcmp((*a)->request, (*b)->request);
}

/* A thread of this request waits for a connection: so does each of the holders that wait for the
 * request's threads, which are sorted by request. Returns how many of them are new. */
static unsigned mark_nested(struct db_holder **holders, unsigned count, const char *request)
{
    unsigned low = 0;
    unsigned high = count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (strcmp(holders[middle]->request, request) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    unsigned marked = 0;
    for (; low < count && strcmp(holders[low]->request, request) == 0; low++) {
        marked += !holders[low]->is_nested;
        holders[low]->is_nested = true;
    }
    return marked;
}

/* Of the holders that wait for threads of their request: for how many does such a thread stand in
 * the queue, or has just given up? Thousands may stand there, most of them behind others of their
 * request. */
static unsigned count_nested(const struct db_pool *pool, const struct waiter *gave_up,
                             struct db_holder **holders, unsigned count)
{
    const struct waiter *waiter;
    const char *former = "";
    pool_assert_held(pool);
    if (count == 0)
        return 0;
    // NOLINTNEXTLINE(bugprone-sizeof-expression): these are pointers
    qsort(holders, count, sizeof *holders, compare_requests);
    unsigned nested = gave_up ? mark_nested(holders, count, gave_up->request) : 0;
    TAILQ_FOREACH (waiter, &pool->queue, link) {
        if (nested == count)
            break;
        if (strcmp(waiter->request, former) != 0)
            nested += mark_nested(holders, count, waiter->request);
        former = waiter->request;
    }
    return nested;
}

/* Fills a view of the pool. `waiter`: the one whose wait is explained; may be NULL. Lock held. */
static void fill_view(struct db_pool *pool, const struct waiter *waiter, int64_t now_ns,
                      struct db_holder *holders, struct db_pool_view *view)
{
    pool_assert_held(pool);
    *view = (struct db_pool_view){.at_ns = now_ns,
                                  .counts = count(pool),
                                  .connect_failure = pool->connect_failure,
                                  .connect_failure_ns = pool->connect_failure_ns,
                                  .connect_failures = pool->connect_failures,
                                  .nested = pool->held_by_waiting,
                                  .holders = holders};
    if (waiter) {
        view->waited_ns = now_ns - waiter->from_ns;
        view->checkins = pool->finished - waiter->finished_before;
        view->served_ns = pool->served_ns - waiter->served_before_ns;
    }
    unsigned awaiting = 0;
    if (pool->checkins > 0)
        view->mean_hold_ns = pool->held_ns / (int64_t)pool->checkins;
    for (unsigned i = 0; i < pool->config.max_size; i++) {
        const struct db_slot *slot = &pool->slots[i];
        if (slot->state != SLOT_IN_USE)
            continue;
        struct db_holder *holder = &holders[view->holder_count++];
        *holder = slot->holder;
        holder->state = pool->config.connector.state(slot->connection);
        enum thread_state state;
        holder->is_alive = thread_state_is_at(holder->tid, holder->turn, &state);
        /* (Holders that are in the queue themselves have another state, and are in
         * held_by_waiting.) */
        if (holder->is_alive && state == THREAD_WAITGROUP_WAIT && holder->request[0])
            pool->awaiting[awaiting++] = holder;
    }
    view->nested += count_nested(pool, waiter, pool->awaiting, awaiting);
    assert(view->holder_count == pool->counts[SLOT_IN_USE]);
    db_pool_diagnose(view);
}

void pool_note_timeout(struct db_pool *pool, const struct waiter *waiter, int64_t now_ns)
{
    pool_assert_held(pool);
    assert(!waiter->granted && !waiter->queued);
    bool is_first = pool->last_timeout_ns == 0 || now_ns - pool->last_timeout_ns > QUIET_NS;
    pool->last_timeout_ns = now_ns;
    if (now_ns - pool->last_timeout.at_ns >= FRESH_NS || pool->last_timeout.at_ns == 0)
        fill_view(pool, waiter, now_ns, pool->last_timeout_holders, &pool->last_timeout);
    if (!is_first)
        return;
    pool->episode_began = true;
    pool->background_due = true;
    CHECK_PTHREAD(pthread_cond_signal(&pool->background_work));
}

void db_pool_examine(struct db_pool *pool, enum db_pool_moment moment, struct db_holder *holders,
                     struct db_pool_view *view)
{
    pool_lock(pool);
    if (moment == DB_POOL_NOW) {
        fill_view(pool, TAILQ_FIRST(&pool->queue), clock_now_ns(), holders, view);
    } else {
        *view = pool->last_timeout;
        view->holders = holders;
        memcpy(holders, pool->last_timeout_holders, view->holder_count * sizeof *holders);
    }
    pool_unlock(pool);
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
    metrics_gauge(out, "flashover_pool_ready", labels, "1 when checkouts may begin, 0 when paused.",
                  counts.state == DB_POOL_READY);
    metrics_gauge(out, "flashover_pool_generation", labels,
                  "How often the pool was cleared or renewed.", counts.generation);
    metrics_gauge(out, "db_client_connection_idle_max", labels, "The most idle connections kept.",
                  counts.max);
    metrics_gauge(out, "db_client_connection_idle_min", labels, "The fewest connections kept open.",
                  pool->config.min_size);
    metrics_gauge(out, "db_client_connection_max", labels, "Max pool size.", counts.max);
    metrics_gauge(out, "db_client_connection_pending_requests", labels,
                  "Threads in the wait queue.", counts.waiting);
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
