/* The connector threads: they connect for waiters and for min_size, and find out when the database
 * is back. */
#include "service/pool/lock.h"
#include "service/pool/policy_private.h"
#include "service/pool/pool_private.h"
#include "service/pool/queue.h"
#include "service/pool/slots.h"
#include "service/pool/threads.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "service/base/thread_state.h"

#include <sys/eventfd.h>
#include <unistd.h>

/* While the database is away: attempts after 50, 100, 200, 400, 500, 500 … ms, each shortened by up
 * to a third, so that many services do not connect in step. The pool finds the database within half
 * a second of its return. */
#define BACK_OFF_FIRST_NS (50 * CLOCK_NS_PER_MS)
#define BACK_OFF_MAX_NS   (500 * CLOCK_NS_PER_MS)
#define BACK_OFF_SHORTEST 0.67
/* Weight of the newest connect in the moving average, as in TCP's estimate (RFC 6298): 1/8. */
#define MEAN_SHIFT 3

/* When a ready pool needs another connect; CLOCK_NEVER: not now. Connects that began before a clear
 * do not count. Lock held. */
static int64_t wanted_at(const struct db_pool *pool)
{
    pool_assert_held(pool);
    unsigned connecting = pool->connecting;
    bool fills = pool->config.background_interval_ns >= 0;
    if (fills && pool_working(pool) + connecting < pool->config.min_size)
        return 0;
    if (pool->waiting > connecting)
        return pool->config.policy->next_connect_at(pool);
    if (pool->config.max_untried_ns == 0 || pool_working(pool) + connecting > 0)
        return CLOCK_NEVER;
    return pool->tried_ns == 0 ? 0 : pool->tried_ns + pool->config.max_untried_ns;
}

/* When the next connect is due; CLOCK_NEVER: not before something changes. Lock held. */
static int64_t due_at(const struct db_pool *pool)
{
    pool_assert_held(pool);
    int64_t at_ns = CLOCK_NEVER;
    if (pool->counts[SLOT_EMPTY] == 0)
        return CLOCK_NEVER;
    if (pool->state == DB_POOL_READY)
        at_ns = wanted_at(pool);
    else if (pool->state == DB_POOL_PAUSED && pool->config.policy->probes(pool))
        at_ns = 0; /* also without waiters */
    return at_ns > pool->retry_at_ns ? at_ns : pool->retry_at_ns;
}

static struct db_slot *take_empty_slot(struct db_pool *pool)
{
    pool_assert_held(pool);
    for (unsigned i = 0; i < pool->config.max_size; i++)
        if (pool->slots[i].state == SLOT_EMPTY) {
            pool_slot_set_state(pool, &pool->slots[i], SLOT_EMPTY, SLOT_CONNECTING);
            return &pool->slots[i];
        }
    abort(); /* due_at() saw one under the same lock */
}

/* Gives the connection its id and emits ConnectionCreated. Lock held. A paused pool's probe has
 * neither until it succeeds. */
static void announce(struct db_pool *pool, struct db_slot *slot)
{
    pool_assert_held(pool);
    slot->generation = pool->generation;
    slot->holder.connection_id = ++pool->next_connection_id;
    pool_emit(pool, (struct db_pool_event){.type = CONNECTION_CREATED,
                                           .connection_id = slot->holder.connection_id});
}

/* Counts the connect among those under way, until it ends or a clear makes it useless. Lock held.
 */
static void count_in(struct db_pool *pool, struct db_slot *slot)
{
    pool_assert_held(pool);
    slot->generation = pool->generation;
    if (pool->waiting > pool->connecting)
        pool->awaited++; /* for the first waiter that no connect is for */
    pool->connecting++;
    pool_spare_waiters(pool);
}

static void count_out(struct db_pool *pool, const struct db_slot *slot)
{
    pool_assert_held(pool);
    if (slot->generation == pool->generation) {
        assert(pool->connecting > 0);
        pool->connecting--;
    }
    if (pool->awaited > pool->connecting)
        pool->awaited = pool->connecting;
}

static void log_connect_failure(const struct failure *failure, int64_t retry_ns)
{
    log_line(LOG_WARN, "database connect failed",
             json_pack("{s:s, s:s, s:I}", "error", failure->message, "sqlstate", failure->sqlstate,
                       "retry_ms", (json_int_t)(retry_ns / CLOCK_NS_PER_MS)));
}

/* A number in [low, high), from the pool's own generator: xorshift64* (Vigna, "An experimental
 * exploration of Marsaglia's xorshift generators, scrambled"). Lock held. */
static double jitter(struct db_pool *pool, double low, double high)
{
    pool_assert_held(pool);
    uint64_t x = pool->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    pool->random = x;
    double unit = (double)((x * UINT64_C(0x2545f4914f6cdd1d)) >> 11) * 0x1.0p-53;
    return low + (high - low) * unit;
}

/* The connection is there. Lock held. */
static void settle_success(struct db_pool *pool, struct db_slot *slot, void *connection,
                           int64_t took_ns)
{
    pool_assert_held(pool);
    assert(connection && !slot->connection);
    int64_t now_ns = clock_now_ns();
    int64_t lifetime_ns = pool->config.max_lifetime_ns;
    slot->connection = connection;
    slot->holder.backend_pid = pool->config.connector.backend_pid(connection);
    slot->expires_at_ns = CLOCK_NEVER;
    if (lifetime_ns > 0) /* not all at once, though they were made at once */
        slot->expires_at_ns = now_ns + (int64_t)((double)lifetime_ns * jitter(pool, 0.9, 1));
    metrics_histogram_observe_locked(&pool->create_time, took_ns);
    pool->back_off_ns = 0;
    pool->retry_at_ns = 0;
    pool->connect_failures = 0;
    pool->mean_connect_ns +=
        pool->mean_connect_ns ? (took_ns - pool->mean_connect_ns) >> MEAN_SHIFT : took_ns;
    if (slot->holder.connection_id == 0 && pool->state != DB_POOL_CLOSED && !slot->is_closed) {
        pool_make_ready(pool); /* the probe succeeded: the database is back */
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

/* There is no connection. True when that tells something about the database; false when the connect
 * was given up. Lock held. */
static bool settle_failure(struct db_pool *pool, struct db_slot *slot,
                           const struct failure *failure)
{
    pool_assert_held(pool);
    assert(failure->kind != FAILURE_NONE && !slot->connection);
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
                                                       jitter(pool, BACK_OFF_SHORTEST, 1));
    }
    if (is_news && pool->config.policy->clears_after_failure(pool))
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
    pool_assert_held(pool);
    const struct db_connector *connector = &pool->config.connector;
    struct db_slot *slot = take_empty_slot(pool);
    struct failure failure = {0};
    uint64_t interrupts;
    slot->by = by;
    slot->is_closed = false;
    count_in(pool, slot);
    slot->holder = (struct db_holder){0};
    if (pool->state == DB_POOL_READY)
        announce(pool, slot);
    /* an interrupt that came after its connect had ended */
    (void)!read(by->interrupt_fd, &interrupts, sizeof interrupts);
    pool_unlock(pool);

    thread_state_set(THREAD_RUNNING);
    int64_t from_ns = clock_now_ns();
    void *connection = connector->connect(
        connector->context, from_ns + pool->config.connect_timeout_ns, by->interrupt_fd, &failure);

    pool_lock(pool);
    bool is_news = false;
    pool->tried_ns = clock_now_ns();
    count_out(pool, slot);
    if (connection)
        settle_success(pool, slot, connection, clock_now_ns() - from_ns);
    else
        is_news = settle_failure(pool, slot, &failure);
    slot->by = NULL;
    /* another connector may have waited for this attempt to end */
    CHECK_PTHREAD(pthread_cond_signal(&pool->connector_work));
    if (is_news) {
        int64_t retry_ns = pool->back_off_ns;
        pool_unlock(pool);
        log_connect_failure(&failure, retry_ns);
        pool_lock(pool);
    }
    thread_state_set(THREAD_IDLE);
}

static void *connector_main(void *argument)
{
    struct pool_connector *by = argument;
    struct db_pool *pool = by->pool;
    thread_state_enter("connector", "");
    thread_state_set(THREAD_IDLE);
    pool_lock(pool);
    while (pool->state != DB_POOL_CLOSED) {
        int64_t due_ns = due_at(pool);
        if (due_ns > clock_now_ns())
            (void)pool_wait(pool, &pool->connector_work, due_ns);
        else
            connect_one(by);
    }
    pool_unlock(pool);
    thread_state_leave();
    return NULL;
}

bool pool_connectors_start(struct db_pool *pool)
{
    assert(pool->connector_count == 0);
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

bool db_pool_is_cut_off(struct db_pool *pool, struct failure *failure)
{
    pool_lock(pool);
    bool is_new = pool->mean_connect_ns == 0 && pool->config.max_untried_ns > 0;
    bool is_cut_off = pool->state == DB_POOL_PAUSED ||
                      ((pool->connect_failures > 0 || is_new) && pool_working(pool) == 0);
    if (is_cut_off && pool->connect_failures == 0 && pool->state != DB_POOL_PAUSED)
        failure_set(failure, FAILURE_UNAVAILABLE, "no connect has succeeded yet");
    else if (is_cut_off)
        *failure = pool->connect_failures > 0 ? pool->connect_failure : pool->cleared;
    pool_unlock(pool);
    return is_cut_off;
}
