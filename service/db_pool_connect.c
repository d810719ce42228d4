/* The threads that connect, for waiters and for min_size; and that find out, while the pool is
 * paused, when the database is back. */
#include "service/db_pool_queue.h"
#include "service/db_pool_slots.h"
#include "service/db_pool_threads.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "service/thread_state.h"

#include <sys/eventfd.h>
#include <unistd.h>

/* While the database is away: tries after 50, 100, 200, 400, 500, 500 … ms, each shortened by up to
 * a third so that many services do not knock in step. It is found within half a second of its
 * return. */
#define BACK_OFF_FIRST_NS (50 * CLOCK_NS_PER_MS)
#define BACK_OFF_MAX_NS   (500 * CLOCK_NS_PER_MS)
#define BACK_OFF_SHORTEST 0.67
/* Weight of the newest connect in the moving average, as in TCP's estimate (RFC 6298): 1/8. */
#define MEAN_SHIFT 3

/* Connections that are there, or may be in a moment without a connect. */
static unsigned working(const struct db_pool *pool)
{
    return pool->counts[SLOT_IDLE] + pool->counts[SLOT_IN_USE] + pool->counts[SLOT_DRAINING] +
           pool->counts[SLOT_CANCELLING];
}

/* When a ready pool wants another connect: CLOCK_NEVER for not at all. Connects from before a clear
 * are of no use to anybody. Lock held. */
static int64_t wanted_at(const struct db_pool *pool)
{
    unsigned connecting = pool->connecting;
    bool fills = pool->config.background_interval_ns >= 0;
    if (fills && working(pool) + connecting < pool->config.min_size)
        return 0;
    if (pool->waiting <= connecting)
        return CLOCK_NEVER;
    /* A second connect beside one under way pays only if it ends before the queue gets to that
     * waiter anyway. So it is begun when the first has stood there for as long as connects take: a
     * burst that the pool can serve faster does not leave it swollen. */
    if (pool->config.autonomous && connecting > 0 && working(pool) > 0)
        return pool->first->from_ns + pool->mean_connect_ns;
    return 0;
}

/* When the next connect is due: CLOCK_NEVER for not before something changes. Lock held. */
static int64_t due_at(const struct db_pool *pool)
{
    int64_t at_ns = CLOCK_NEVER;
    if (pool->counts[SLOT_EMPTY] == 0)
        return CLOCK_NEVER;
    if (pool->state == DB_POOL_READY)
        at_ns = wanted_at(pool);
    else if (pool->config.autonomous && pool->generation > 0 && pool->counts[SLOT_CONNECTING] == 0)
        at_ns = 0; /* cleared: one try at a time, also when nobody asks */
    return at_ns > pool->retry_at_ns ? at_ns : pool->retry_at_ns;
}

static struct db_lease *take_empty_slot(struct db_pool *pool)
{
    for (unsigned i = 0; i < pool->config.max_size; i++)
        if (pool->slots[i].state == SLOT_EMPTY) {
            pool_slot_set_state(pool, &pool->slots[i], SLOT_EMPTY, SLOT_CONNECTING);
            return &pool->slots[i];
        }
    abort(); /* due_at() saw one under the same lock */
}

/* From here on the connection has an id. Before, nobody knows of it: a paused pool makes none. */
static void announce(struct db_pool *pool, struct db_lease *slot)
{
    slot->generation = pool->generation;
    slot->holder.connection_id = ++pool->next_connection_id;
    pool_emit(pool, (struct db_pool_event){.type = CONNECTION_CREATED,
                                           .connection_id = slot->holder.connection_id});
}

/* Counts the connect among those under way, until it ends or a clear makes it useless. */
static void count_in(struct db_pool *pool, struct db_lease *slot)
{
    slot->generation = pool->generation;
    if (pool->waiting > pool->connecting)
        pool->awaited++; /* it is for the first waiter that has none */
    pool->connecting++;
    pool_spare_waiters(pool);
}

static void count_out(struct db_pool *pool, const struct db_lease *slot)
{
    if (slot->generation == pool->generation)
        pool->connecting--;
    if (pool->awaited > pool->connecting)
        pool->awaited = pool->connecting;
}

static void log_connect_failure(const struct failure *failure, int64_t retry_ns)
{
    log_line(LOG_WARN, "database connect failed",
             json_pack("{s:s, s:s, s:I}", "error", failure->message, "sqlstate", failure->sqlstate,
                       "retry_ms", (json_int_t)(retry_ns / CLOCK_NS_PER_MS)));
}

/* The connection is there. Lock held. */
static void settle_success(struct db_pool *pool, struct db_lease *slot, void *connection,
                           int64_t took_ns)
{
    int64_t now_ns = clock_now_ns();
    int64_t lifetime_ns = pool->config.max_lifetime_ns;
    slot->connection = connection;
    slot->holder.backend_pid = pool->config.connector.backend_pid(connection);
    slot->expires_at_ns = CLOCK_NEVER;
    if (lifetime_ns > 0) /* not all on one day, though they were born on one */
        slot->expires_at_ns = now_ns + (int64_t)((double)lifetime_ns * pool_jitter(pool, 0.9, 1));
    metrics_histogram_observe_locked(&pool->create_time, took_ns);
    pool->back_off_ns = 0;
    pool->retry_at_ns = 0;
    pool->connect_failures = 0;
    pool->mean_connect_ns +=
        pool->mean_connect_ns ? (took_ns - pool->mean_connect_ns) >> MEAN_SHIFT : took_ns;
    if (slot->holder.connection_id == 0 && pool->state != DB_POOL_CLOSED && !slot->is_closed) {
        pool_make_ready(pool); /* it was the prober's: the database is back */
        announce(pool, slot);
    }
    if (slot->is_closed || pool->state == DB_POOL_CLOSED || slot->generation != pool->generation) {
        pool_slot_retire(pool, slot, SLOT_CONNECTING,
                         pool->state == DB_POOL_CLOSED ? CLOSED_POOL_CLOSED : CLOSED_STALE);
        return;
    }
    pool_emit(pool, (struct db_pool_event){.type = CONNECTION_READY,
                                           .duration_ns = took_ns,
                                           .connection_id = slot->holder.connection_id});
    pool_wake(pool_hand_over(pool, slot, SLOT_CONNECTING, now_ns));
}

/* There is no connection. True when that is news of the database: the connect was not given up.
 * Lock held. */
static bool settle_failure(struct db_pool *pool, struct db_lease *slot,
                           const struct failure *failure)
{
    bool is_news =
        !slot->is_closed && slot->generation == pool->generation && pool->state != DB_POOL_CLOSED;
    if (is_news) {
        pool->connect_failures++;
        pool->connect_failure = *failure;
        pool->connect_failure_ns = clock_now_ns();
        pool->back_off_ns = pool->back_off_ns ? 2 * pool->back_off_ns : BACK_OFF_FIRST_NS;
        if (pool->back_off_ns > BACK_OFF_MAX_NS)
            pool->back_off_ns = BACK_OFF_MAX_NS;
        pool->retry_at_ns = clock_now_ns() + (int64_t)((double)pool->back_off_ns *
                                                       pool_jitter(pool, BACK_OFF_SHORTEST, 1));
    }
    /* With connections left, waiters go on hoping for a check-in. With none, they learn at once
     * why. */
    if (is_news && (!pool->config.autonomous || working(pool) == 0))
        pool_clear(pool, failure, false);
    pool_slot_say_closed(pool, slot,
                         pool->state == DB_POOL_CLOSED ? CLOSED_POOL_CLOSED : CLOSED_ERROR);
    pool_slot_set_state(pool, slot, SLOT_CONNECTING, SLOT_EMPTY);
    return is_news;
}

/* Makes one connection. Lock held, and given up while connecting. */
static void connect_one(struct pool_connector *by)
{
    struct db_pool *pool = by->pool;
    const struct db_connector *connector = &pool->config.connector;
    struct db_lease *slot = take_empty_slot(pool);
    struct failure failure = {0};
    uint64_t interrupts;
    slot->by = by;
    slot->is_closed = false;
    count_in(pool, slot);
    slot->holder = (struct db_holder){0};
    if (pool->state == DB_POOL_READY)
        announce(pool, slot);
    (void)!read(by->interrupt_fd, &interrupts, sizeof interrupts); /* one that came too late */
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));

    thread_state_set(THREAD_RUNNING);
    int64_t from_ns = clock_now_ns();
    void *connection = connector->connect(
        connector->context, from_ns + pool->config.connect_timeout_ns, by->interrupt_fd, &failure);

    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    bool is_news = false;
    count_out(pool, slot);
    if (connection)
        settle_success(pool, slot, connection, clock_now_ns() - from_ns);
    else
        is_news = settle_failure(pool, slot, &failure);
    slot->by = NULL;
    /* another connector may have been held back by this try */
    CHECK_PTHREAD(pthread_cond_signal(&pool->connector_work));
    if (is_news) {
        int64_t retry_ns = pool->back_off_ns;
        CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
        log_connect_failure(&failure, retry_ns);
        CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    }
    thread_state_set(THREAD_IDLE);
}

static void *connector_main(void *argument)
{
    struct pool_connector *by = argument;
    struct db_pool *pool = by->pool;
    thread_state_enter("connector", "");
    thread_state_set(THREAD_IDLE);
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    while (pool->state != DB_POOL_CLOSED) {
        int64_t due_ns = due_at(pool);
        if (due_ns == CLOCK_NEVER) {
            CHECK_PTHREAD(pthread_cond_wait(&pool->connector_work, &pool->lock));
        } else if (due_ns > clock_now_ns()) {
            struct timespec until = clock_timespec(due_ns);
            (void)pthread_cond_timedwait(&pool->connector_work, &pool->lock, &until);
        } else {
            connect_one(by);
        }
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    thread_state_leave();
    return NULL;
}

void pool_interrupt_connect(const struct db_lease *slot)
{
    uint64_t one = 1;
    ssize_t written = write(slot->by->interrupt_fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
}

bool pool_connectors_start(struct db_pool *pool)
{
    for (unsigned i = 0; i < pool->config.max_connecting; i++) {
        struct pool_connector *by = &pool->connectors[i];
        by->pool = pool;
        by->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (by->interrupt_fd < 0)
            return false;
        if (pthread_create(&by->thread, NULL, connector_main, by) != 0) {
            close(by->interrupt_fd);
            return false;
        }
        pool->connector_count++;
    }
    return true;
}

void pool_connectors_stop(struct db_pool *pool)
{
    for (unsigned i = 0; i < pool->connector_count; i++) {
        CHECK_PTHREAD(pthread_join(pool->connectors[i].thread, NULL));
        close(pool->connectors[i].interrupt_fd);
    }
    pool->connector_count = 0;
}
