#include "service/db_pool_internal.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/thread_state.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The incident's first message, word for word. */
static const char checkout_timeout_text[] =
    "timed out while checking out a connection from connection pool";
/* CMAP, "PoolClosedError". */
static const char pool_closed_text[] =
    "attempted to check out a connection from closed connection pool";

void pool_slot_set_state(struct db_pool *pool, struct db_lease *slot, enum slot_state from,
                         enum slot_state to)
{
    assert(slot->state == from);
    assert(pool->counts[from] > 0);
    slot->state = to;
    pool->counts[from]--;
    pool->counts[to]++;
}

bool pool_is_down(const struct db_pool *pool)
{
    return pool->failing &&
           pool->counts[SLOT_IDLE] + pool->counts[SLOT_IN_USE] + pool->counts[SLOT_DRAINING] == 0;
}

static void queue_append(struct db_pool *pool, struct waiter *waiter)
{
    assert(!pool->idle);
    waiter->queued = true;
    waiter->previous = pool->last;
    waiter->next = NULL; /* it may have stood here before, and been given a dead connection */
    if (pool->last)
        pool->last->next = waiter;
    else
        pool->first = waiter;
    pool->last = waiter;
    pool->waiting++;
}

static void queue_remove(struct db_pool *pool, struct waiter *waiter)
{
    assert(waiter->queued);
    waiter->queued = false;
    *(waiter->previous ? &waiter->previous->next : &pool->first) = waiter->next;
    *(waiter->next ? &waiter->next->previous : &pool->last) = waiter->previous;
    pool->waiting--;
}

/* Wakes a waiter that has been decided on. It stands on its thread's stack, and is gone once that
 * thread has the lock: so the signal is given while we still hold it. */
static void wake(struct waiter *waiter)
{
    CHECK_PTHREAD(pthread_cond_signal(&waiter->woken));
}

static void grant(struct db_lease *slot, struct waiter *waiter, int64_t now_ns)
{
    slot->holder.tid = waiter->tid;
    snprintf(slot->holder.request, sizeof slot->holder.request, "%s", waiter->request);
    slot->holder.call_site = waiter->checkout->call_site;
    slot->holder.query = waiter->checkout->query;
    slot->holder.since_ns = now_ns;
    waiter->granted = slot;
}

void pool_hand_over(struct db_pool *pool, struct db_lease *slot, enum slot_state from)
{
    int64_t now_ns = clock_now_ns();
    struct waiter *waiter = pool->first;
    /* Those who may not have it any more have been woken by their own deadlines and leave by
     * themselves. */
    while (waiter && !waiter->checkout->admit(waiter->checkout->deadline_ns, now_ns))
        waiter = waiter->next;
    if (waiter) {
        queue_remove(pool, waiter);
        pool_slot_set_state(pool, slot, from, SLOT_IN_USE);
        grant(slot, waiter, now_ns);
        wake(waiter);
        return;
    }
    pool_slot_set_state(pool, slot, from, SLOT_IDLE);
    slot->next_idle = pool->idle;
    pool->idle = slot;
}

void pool_refuse_waiters(struct db_pool *pool, const struct failure *reason)
{
    while (pool->first) {
        struct waiter *waiter = pool->first;
        queue_remove(pool, waiter);
        waiter->refused = reason;
        wake(waiter);
    }
}

void pool_close_slot(struct db_pool *pool, struct db_lease *slot)
{
    pool->config.connector.close(slot->connection);
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    slot->connection = NULL;
    pool_slot_set_state(pool, slot, SLOT_CLOSING, SLOT_EMPTY);
    CHECK_PTHREAD(pthread_cond_signal(&pool->connector_work));
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
}

/* Waits in the queue until it is decided on or its deadline passes. Lock held, and given up while
 * waiting. */
static void wait_turn(struct db_pool *pool, struct waiter *waiter)
{
    struct timespec deadline = clock_timespec(waiter->checkout->deadline_ns);
    queue_append(pool, waiter);
    CHECK_PTHREAD(pthread_cond_signal(&pool->connector_work));
    while (waiter->queued) {
        int result = pthread_cond_timedwait(&waiter->woken, &pool->lock, &deadline);
        assert(result == 0 || result == ETIMEDOUT);
        if (result == ETIMEDOUT && waiter->queued)
            queue_remove(pool, waiter);
    }
}

/* Takes an idle connection or waits for one. Lock held. Leaves waiter->granted NULL on failure. */
static void take(struct db_pool *pool, struct waiter *waiter, struct failure *failure)
{
    const struct db_checkout *checkout = waiter->checkout;
    int64_t now_ns = clock_now_ns();
    const struct failure *refused = pool->closing        ? &pool->closed
                                    : pool_is_down(pool) ? &pool->last_failure
                                                         : NULL;
    if (!refused && pool->idle && checkout->admit(checkout->deadline_ns, now_ns)) {
        struct db_lease *slot = pool->idle;
        pool->idle = slot->next_idle;
        pool_slot_set_state(pool, slot, SLOT_IDLE, SLOT_IN_USE);
        grant(slot, waiter, now_ns);
        return;
    }
    if (!refused && !pool->idle) {
        wait_turn(pool, waiter);
        refused = waiter->refused;
    }
    /* Handed over, but woken too late to use it: the next in the queue may be in time. */
    if (waiter->granted && !checkout->admit(checkout->deadline_ns, clock_now_ns())) {
        pool_hand_over(pool, waiter->granted, SLOT_IN_USE);
        waiter->granted = NULL;
    }
    if (refused)
        *failure = *refused;
    else if (!waiter->granted)
        failure_set(failure, FAILURE_CHECKOUT_TIMEOUT, "%s", checkout_timeout_text);
}

bool db_pool_checkout(struct db_pool *pool, const struct db_checkout *checkout,
                      struct db_lease **lease, struct failure *failure)
{
    struct waiter waiter = {
        .checkout = checkout, .tid = thread_state_tid(), .request = thread_state_request()};
    int64_t from_ns = clock_now_ns();
    enum thread_state former = thread_state_set(THREAD_POOL_CHECKOUT);
    bool usable = false;

    clock_cond_init(&waiter.woken);
    do {
        waiter.granted = NULL;
        CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
        take(pool, &waiter, failure);
        CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
        if (!waiter.granted)
            break;
        /* It may have died while it lay idle (a restarted server): then it is replaced, and the
         * next one tried. */
        usable = pool->config.connector.consume(waiter.granted->connection) == DB_CONN_IDLE;
        if (!usable)
            db_pool_checkin(pool, &waiter.granted);
    } while (!usable);
    CHECK_PTHREAD(pthread_cond_destroy(&waiter.woken));
    thread_state_set(former);

    metrics_histogram_observe(&pool->wait_time, clock_now_ns() - from_ns);
    if (!usable && failure->kind == FAILURE_CHECKOUT_TIMEOUT)
        atomic_fetch_add(&pool->timeouts, 1);
    *lease = waiter.granted;
    return usable;
}

void *db_lease_connection(const struct db_lease *lease)
{
    return lease->connection;
}

void db_pool_checkin(struct db_pool *pool, struct db_lease **lease)
{
    struct db_lease *slot = *lease;
    enum db_conn_state state = pool->config.connector.state(slot->connection);
    *lease = NULL;
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    int64_t now_ns = clock_now_ns();
    metrics_histogram_observe(&pool->use_time, now_ns - slot->holder.since_ns);
    bool close_it = state == DB_CONN_BROKEN || pool->closing;
    bool drain_it = !close_it && state == DB_CONN_BUSY;
    if (close_it) {
        pool_slot_set_state(pool, slot, SLOT_IN_USE, SLOT_CLOSING);
    } else if (drain_it) {
        pool_slot_set_state(pool, slot, SLOT_IN_USE, SLOT_DRAINING);
        slot->drain_deadline_ns = now_ns + pool->config.drain_timeout_ns;
    } else {
        pool_hand_over(pool, slot, SLOT_IN_USE);
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    if (close_it)
        pool_close_slot(pool, slot);
    if (drain_it)
        pool_wake_drainer(pool);
}

struct db_pool *db_pool_open(const struct db_pool_config *config, struct failure *failure)
{
    assert(config->max_size > 0 && config->min_size <= config->max_size &&
           config->max_connecting > 0);
    struct db_pool *pool = calloc(1, sizeof *pool);
    struct db_lease *slots = calloc(config->max_size, sizeof *slots);
    pthread_t *connectors = calloc(config->max_connecting, sizeof *connectors);
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = pool && slots && connectors && wake_fd >= 0;
    if (ok) {
        pool->config = *config;
        pool->slots = slots;
        pool->connectors = connectors;
        pool->drainer_wake_fd = wake_fd;
        pool->counts[SLOT_EMPTY] = config->max_size;
        failure_set(&pool->closed, FAILURE_UNAVAILABLE, "%s", pool_closed_text);
        CHECK_PTHREAD(pthread_mutex_init(&pool->lock, NULL));
        clock_cond_init(&pool->connector_work);
        ok = pool_background_start(pool);
    }
    if (!ok) {
        failure_set(failure, FAILURE_UNAVAILABLE,
                    "the connection pool cannot start: no memory, descriptors or threads");
        if (wake_fd >= 0)
            close(wake_fd);
        free(connectors);
        free(slots);
        free(pool);
        return NULL;
    }
    return pool;
}

/* Turns everybody away and ends the background threads. Done once. */
static void begin_close(struct db_pool *pool)
{
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    bool begun = pool->closing;
    pool->closing = true;
    pool_refuse_waiters(pool, &pool->closed);
    CHECK_PTHREAD(pthread_cond_broadcast(&pool->connector_work));
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    if (begun)
        return;
    pool_wake_drainer(pool);
    pool_background_stop(pool);
}

bool db_pool_close(struct db_pool *pool)
{
    begin_close(pool);
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    while (pool->idle) {
        struct db_lease *slot = pool->idle;
        pool->idle = slot->next_idle;
        pool_slot_set_state(pool, slot, SLOT_IDLE, SLOT_CLOSING);
        CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
        pool_close_slot(pool, slot);
        CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    }
    bool all_back = pool->counts[SLOT_EMPTY] == pool->config.max_size;
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    if (!all_back)
        return false;
    close(pool->drainer_wake_fd);
    CHECK_PTHREAD(pthread_cond_destroy(&pool->connector_work));
    CHECK_PTHREAD(pthread_mutex_destroy(&pool->lock));
    free(pool->connectors);
    free(pool->slots);
    free(pool);
    return true;
}
