/*
 * The pool's background threads: connectors make connections, the drainer reads the rest of answers
 * that nobody waits for any more.
 */
#include "service/db_pool_internal.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "service/thread_state.h"

#include <poll.h>
#include <unistd.h>

/* While the database is away: tries at 50, 100, 200, 400, 500, 500 … ms, so that it is found within
 * half a second of its return, and hammered with no more than two tries a second. */
#define BACK_OFF_FIRST_NS (50 * CLOCK_NS_PER_MS)
#define BACK_OFF_MAX_NS   (500 * CLOCK_NS_PER_MS)

/* Whether another connect should be under way. Lock held. */
static bool connect_wanted(const struct db_pool *pool)
{
    if (pool->closing || pool->counts[SLOT_EMPTY] == 0)
        return false;
    if (pool->failing)
        return pool->counts[SLOT_CONNECTING] == 0; /* one probe at a time, also when nobody waits */
    unsigned open = pool->config.max_size - pool->counts[SLOT_EMPTY];
    return pool->waiting > pool->counts[SLOT_CONNECTING] || open < pool->config.min_size;
}

static struct db_lease *take_empty_slot(struct db_pool *pool)
{
    for (unsigned i = 0; i < pool->config.max_size; i++)
        if (pool->slots[i].state == SLOT_EMPTY) {
            pool_slot_set_state(pool, &pool->slots[i], SLOT_EMPTY, SLOT_CONNECTING);
            return &pool->slots[i];
        }
    abort(); /* connect_wanted() saw one under the same lock */
}

static void log_connect_failure(const struct failure *failure, int64_t retry_ns)
{
    log_line(LOG_WARN, "database connect failed",
             json_pack("{s:s, s:s, s:I}", "error", failure->message, "sqlstate", failure->sqlstate,
                       "retry_ms", (json_int_t)(retry_ns / CLOCK_NS_PER_MS)));
}

static void connect_succeeded(struct db_pool *pool, struct db_lease *slot, void *connection)
{
    slot->connection = connection;
    slot->holder =
        (struct db_holder){.connection_id = ++pool->next_connection_id,
                           .backend_pid = pool->config.connector.backend_pid(connection)};
    pool->failing = false;
    pool->back_off_ns = 0;
    pool_hand_over(pool, slot, SLOT_CONNECTING);
}

static void connect_failed(struct db_pool *pool, struct db_lease *slot,
                           const struct failure *failure)
{
    pool->failing = true;
    pool->last_failure = *failure;
    pool->back_off_ns = pool->back_off_ns ? 2 * pool->back_off_ns : BACK_OFF_FIRST_NS;
    if (pool->back_off_ns > BACK_OFF_MAX_NS)
        pool->back_off_ns = BACK_OFF_MAX_NS;
    pool->retry_at_ns = clock_now_ns() + pool->back_off_ns;
    pool_slot_set_state(pool, slot, SLOT_CONNECTING, SLOT_EMPTY);
    /* With no connection left to wait for, a waiter learns at once why; else check-ins go on
     * serving the queue. */
    if (pool_is_down(pool))
        pool_refuse_waiters(pool, &pool->last_failure);
}

/* Makes one connection. Lock held, and given up while connecting. */
static void connect_one(struct db_pool *pool)
{
    const struct db_connector *connector = &pool->config.connector;
    struct db_lease *slot = take_empty_slot(pool);
    struct failure failure = {0};
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));

    thread_state_set(THREAD_RUNNING);
    int64_t from_ns = clock_now_ns();
    void *connection =
        connector->connect(connector->context, from_ns + pool->config.connect_timeout_ns, &failure);
    if (connection)
        metrics_histogram_observe(&pool->create_time, clock_now_ns() - from_ns);

    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    if (connection)
        connect_succeeded(pool, slot, connection);
    else
        connect_failed(pool, slot, &failure);
    /* another connector may have been held back by this try */
    CHECK_PTHREAD(pthread_cond_signal(&pool->connector_work));
    if (!connection) {
        int64_t retry_ns = pool->back_off_ns;
        CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
        log_connect_failure(&failure, retry_ns);
        CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    }
    thread_state_set(THREAD_IDLE);
}

static void *connector_main(void *argument)
{
    struct db_pool *pool = argument;
    thread_state_enter("connector", "");
    thread_state_set(THREAD_IDLE);
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    while (!pool->closing) {
        if (!connect_wanted(pool)) {
            CHECK_PTHREAD(pthread_cond_wait(&pool->connector_work, &pool->lock));
        } else if (pool->failing && clock_now_ns() < pool->retry_at_ns) {
            struct timespec until = clock_timespec(pool->retry_at_ns);
            (void)pthread_cond_timedwait(&pool->connector_work, &pool->lock, &until);
        } else {
            connect_one(pool);
        }
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    thread_state_leave();
    return NULL;
}

/* The slots that are being drained; they are the drainer's own until it changes their state.
 * Returns how many, and the earliest deadline. */
static unsigned list_draining(struct db_pool *pool, struct db_lease **slots, int64_t *deadline_ns,
                              bool *closing)
{
    unsigned count = 0;
    *deadline_ns = CLOCK_NEVER;
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    for (unsigned i = 0; i < pool->config.max_size; i++) {
        struct db_lease *slot = &pool->slots[i];
        if (slot->state != SLOT_DRAINING)
            continue;
        slots[count++] = slot;
        if (slot->drain_deadline_ns < *deadline_ns)
            *deadline_ns = slot->drain_deadline_ns;
    }
    *closing = pool->closing;
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    return count;
}

/* Takes in what came for one slot: hands it on when the answer is over, closes it when it is broken
 * or too slow. */
static void drain_step(struct db_pool *pool, struct db_lease *slot, bool closing)
{
    enum db_conn_state state = pool->config.connector.consume(slot->connection);
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    bool drained = state == DB_CONN_IDLE && !closing;
    bool close_it = !drained && (state == DB_CONN_BROKEN || closing ||
                                 clock_now_ns() >= slot->drain_deadline_ns);
    if (drained)
        pool_hand_over(pool, slot, SLOT_DRAINING);
    else if (close_it)
        pool_slot_set_state(pool, slot, SLOT_DRAINING, SLOT_CLOSING);
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    if (close_it)
        pool_close_slot(pool, slot);
}

static void *drainer_main(void *argument)
{
    struct db_pool *pool = argument;
    unsigned max = pool->config.max_size;
    struct db_lease **slots = calloc(max, sizeof(struct db_lease *));
    struct pollfd *fds = calloc(max + 1, sizeof *fds);
    bool closing = false;
    assert(slots && fds);
    thread_state_enter("drainer", "");
    while (!closing) {
        int64_t deadline_ns;
        unsigned count = list_draining(pool, slots, &deadline_ns, &closing);
        fds[0] = (struct pollfd){.fd = pool->drainer_wake_fd, .events = POLLIN};
        for (unsigned i = 0; i < count; i++)
            fds[i + 1] = (struct pollfd){.fd = pool->config.connector.socket(slots[i]->connection),
                                         .events = POLLIN};
        thread_state_set(count ? THREAD_QUERY : THREAD_IDLE);
        if (!closing)
            poll(fds, count + 1, clock_poll_ms(deadline_ns, 60000));
        uint64_t wakes;
        (void)!read(pool->drainer_wake_fd, &wakes, sizeof wakes);
        for (unsigned i = 0; i < count; i++)
            drain_step(pool, slots[i], closing);
    }
    thread_state_leave();
    free(fds);
    free(slots);
    return NULL;
}

void pool_wake_drainer(const struct db_pool *pool)
{
    uint64_t one = 1;
    ssize_t written = write(pool->drainer_wake_fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
}

bool pool_background_start(struct db_pool *pool)
{
    bool ok = pthread_create(&pool->drainer, NULL, drainer_main, pool) == 0;
    if (!ok)
        return false;
    while (ok && pool->connector_count < pool->config.max_connecting) {
        ok = pthread_create(&pool->connectors[pool->connector_count], NULL, connector_main, pool) ==
             0;
        pool->connector_count += ok;
    }
    if (!ok) {
        CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
        pool->closing = true;
        CHECK_PTHREAD(pthread_cond_broadcast(&pool->connector_work));
        CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
        pool_wake_drainer(pool);
        pool_background_stop(pool);
    }
    return ok;
}

void pool_background_stop(struct db_pool *pool)
{
    for (unsigned i = 0; i < pool->connector_count; i++)
        CHECK_PTHREAD(pthread_join(pool->connectors[i], NULL));
    CHECK_PTHREAD(pthread_join(pool->drainer, NULL));
}
