/* Checkout and check-in. */
#include "service/pool/lock.h"
#include "service/pool/queue.h"
#include "service/pool/slots.h"
#include "service/pool/threads.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/base/thread_state.h"

/* The incident's first message, word for word; CMAP's WaitQueueTimeoutError but for a capital. */
static const char checkout_timeout_text[] =
    "timed out while checking out a connection from connection pool";

/* The socket of a connection that was idle for longer than this is checked before it is handed out.
 * For one that was used a moment ago, the check costs more than the checkout and finds little. */
#define TRUSTED_NS CLOCK_NS_PER_MS

/* What became of a checkout while the lock was held. */
enum checkout_outcome { FAILED, GRANTED, UNPROVEN };

static enum checkout_outcome refuse(struct waiter *waiter, const struct failure *refused,
                                    enum db_pool_reason reason, struct failure *failure)
{
    *failure = *refused;
    waiter->reason = reason;
    return FAILED;
}

static enum checkout_outcome time_out(struct waiter *waiter, struct failure *failure)
{
    failure_set(failure, FAILURE_CHECKOUT_TIMEOUT, "%s", checkout_timeout_text);
    waiter->reason = FAILED_TIMEOUT;
    return FAILED;
}

static enum checkout_outcome wait_for_one(struct db_pool *pool, struct waiter *waiter,
                                          struct failure *failure)
{
    pool_assert_held(pool);
    if (pool->config.max_waiters > 0 && pool->waiting >= pool->config.max_waiters) {
        failure_set(failure, FAILURE_LIMIT, "too many waiters for a connection: the limit is %u",
                    pool->config.max_waiters);
        waiter->reason = FAILED_QUEUE_FULL;
        return FAILED;
    }
    const struct db_checkout_group *group = waiter->checkout->group;
    if (group && atomic_load(&group->called_off))
        return refuse(waiter, &pool->called_off, FAILED_CALLED_OFF, failure);
    if (pool_is_nested(pool, waiter))
        return refuse(waiter, &pool->nested, FAILED_NESTED, failure);
    pool_wait_turn(pool, waiter);
    if (waiter->refused)
        return refuse(waiter, waiter->refused, waiter->reason, failure);
    if (!waiter->granted)
        return time_out(waiter, failure);
    int64_t now_ns = clock_now_ns();
    if (waiter->checkout->admit(waiter->deadline_ns, now_ns))
        return GRANTED;
    /* It woke too late to use it. The next in the queue may be in time. */
    pool_wake(pool_hand_over(pool, waiter->granted, SLOT_IN_USE, now_ns));
    waiter->granted = NULL;
    return time_out(waiter, failure);
}

/* Takes an available connection or waits for one. Lock held, and given up while waiting. */
static enum checkout_outcome take(struct db_pool *pool, struct waiter *waiter, int64_t now_ns,
                                  struct failure *failure)
{
    pool_assert_held(pool);
    if (pool->state == DB_POOL_CLOSED)
        return refuse(waiter, &pool->closed, FAILED_POOL_CLOSED, failure);
    if (pool->state == DB_POOL_PAUSED)
        return refuse(waiter, &pool->cleared, FAILED_CONNECTION_ERROR, failure);
    struct db_slot *slot = pool_take_idle(pool, now_ns);
    if (!slot)
        return wait_for_one(pool, waiter, failure);
    if (!waiter->checkout->admit(waiter->deadline_ns, now_ns)) {
        LIST_INSERT_HEAD(&pool->idle, slot, idle_link);
        return time_out(waiter, failure);
    }
    bool is_trusted = now_ns - slot->idle_since_ns < TRUSTED_NS;
    pool_grant(pool, slot, SLOT_IDLE, waiter, now_ns);
    return is_trusted ? GRANTED : UNPROVEN;
}

/* Whether the connection still works: checks its socket. After a long time idle the network may
 * have dropped it without a word, so then it makes a round trip too. */
static bool is_alive(const struct db_pool *pool, const struct waiter *waiter, int64_t idle_ns)
{
    const struct db_connector *connector = &pool->config.connector;
    void *connection = waiter->granted->connection;
    if (connector->consume(connection) != DB_CONN_IDLE)
        return false;
    if (pool->config.prove_after_idle_ns == 0 || idle_ns < pool->config.prove_after_idle_ns)
        return true;
    int64_t until_ns = clock_now_ns() + pool->config.drain_timeout_ns;
    return connector->prove(connection,
                            until_ns < waiter->deadline_ns ? until_ns : waiter->deadline_ns);
}

/* A connection may have died while it was idle, with a restarted server for example. Then it is
 * retired, and the next one tried. Lock held, and given up for the check. */
static enum checkout_outcome prove(struct db_pool *pool, struct waiter *waiter,
                                   struct failure *failure)
{
    pool_assert_held(pool);
    struct db_slot *slot = waiter->granted;
    int64_t idle_ns = slot->holder.since_ns - slot->idle_since_ns;
    pool_unlock(pool);
    bool alive = is_alive(pool, waiter, idle_ns);
    pool_lock(pool);
    if (alive)
        return GRANTED;
    waiter->granted = NULL;
    pool_slot_retire(pool, slot, SLOT_IN_USE, CLOSED_ERROR);
    return take(pool, waiter, clock_now_ns(), failure);
}

/* Counts and reports the end of a checkout. Lock held. */
static void book(struct db_pool *pool, const struct waiter *waiter, enum checkout_outcome outcome,
                 int64_t now_ns)
{
    pool_assert_held(pool);
    assert((outcome == GRANTED) == (waiter->granted != NULL) && !waiter->queued);
    struct db_pool_event event = {.at_ns = now_ns, .duration_ns = now_ns - waiter->from_ns};
    metrics_histogram_observe_locked(&pool->wait_time, event.duration_ns);
    if (outcome == GRANTED) {
        event.type = CHECKED_OUT;
        event.connection_id = waiter->granted->holder.connection_id;
    } else {
        event.type = CHECK_OUT_FAILED;
        event.reason = waiter->reason;
        if (waiter->reason == FAILED_TIMEOUT) {
            atomic_fetch_add(&pool->timeouts, 1);
            pool_note_timeout(pool, waiter, now_ns);
        }
    }
    pool_emit(pool, event);
}

bool db_pool_checkout(struct db_pool *pool, const struct db_checkout *checkout,
                      struct db_slot **slot, struct failure *failure)
{
    assert(checkout->admit && checkout->call_site && checkout->query);
    int64_t from_ns = clock_now_ns();
    int64_t timeout_ns = pool->config.wait_queue_timeout_ns;
    struct waiter waiter = {.checkout = checkout,
                            .from_ns = from_ns,
                            .deadline_ns = checkout->deadline_ns,
                            .tid = thread_state_tid()};
    waiter.request = thread_state_request(&waiter.turn);
    if (timeout_ns > 0 && from_ns + timeout_ns < waiter.deadline_ns)
        waiter.deadline_ns = from_ns + timeout_ns;

    pool_lock(pool);
    waiter.finished_before = pool->finished;
    waiter.served_before_ns = pool->served_ns;
    pool_emit(pool, (struct db_pool_event){.type = CHECK_OUT_STARTED, .at_ns = from_ns});
    enum checkout_outcome outcome = take(pool, &waiter, from_ns, failure);
    /* Without a wait or a check, no time has passed that is worth reading the clock for. */
    bool at_once = outcome == GRANTED && waiter.granted->holder.since_ns == from_ns;
    while (outcome == UNPROVEN)
        outcome = prove(pool, &waiter, failure);
    book(pool, &waiter, outcome, at_once ? from_ns : clock_now_ns());
    pool_unlock(pool);
    *slot = waiter.granted;
    return outcome == GRANTED;
}

void *db_slot_connection(const struct db_slot *slot)
{
    return slot->connection;
}

/* Decides what happens to a connection that comes back. Returns the waiter to wake, or NULL. Lock
 * held. */
static struct waiter *put_back(struct db_pool *pool, struct db_slot *slot, enum db_conn_state state,
                               int64_t now_ns)
{
    pool_assert_held(pool);
    enum db_pool_reason perished = pool_slot_perished(pool, slot, now_ns);
    if (pool->state == DB_POOL_CLOSED) {
        pool_slot_retire(pool, slot, SLOT_IN_USE, CLOSED_POOL_CLOSED);
    } else if (perished != REASON_NONE) {
        pool_slot_retire(pool, slot, SLOT_IN_USE, perished);
    } else if (state == DB_CONN_BROKEN) {
        pool_slot_retire(pool, slot, SLOT_IN_USE, CLOSED_ERROR);
    } else if (state == DB_CONN_OUTDATED) { /* of this generation, so no older one's news */
        pool_renew(pool);
        pool_slot_retire(pool, slot, SLOT_IN_USE, CLOSED_STALE);
    } else if (state != DB_CONN_IDLE) { /* to be drained, or rolled back */
        slot->tend_until_ns = now_ns + pool->config.drain_timeout_ns;
        pool_slot_set_state(pool, slot, SLOT_IN_USE, SLOT_DRAINING);
        pool_wake_tender(pool);
    } else {
        return pool_hand_over(pool, slot, SLOT_IN_USE, now_ns);
    }
    return NULL;
}

void db_pool_checkin(struct db_pool *pool, struct db_slot **slot)
{
    struct db_slot *given = *slot;
    assert(given >= pool->slots && given < pool->slots + pool->config.max_size);
    enum db_conn_state state = pool->config.connector.state(given->connection);
    int64_t now_ns = clock_now_ns();
    *slot = NULL;
    pool_lock(pool);
    assert(given->state == SLOT_IN_USE);
    metrics_histogram_observe_locked(&pool->use_time, now_ns - given->holder.since_ns);
    pool->checkins++;
    if (state == DB_CONN_IDLE || state == DB_CONN_IN_TRANSACTION) {
        pool->finished++;
        pool->served_ns += now_ns - given->holder.since_ns;
    }
    pool->held_ns += now_ns - given->holder.since_ns;
    pool_emit(pool, (struct db_pool_event){.type = CHECKED_IN,
                                           .at_ns = now_ns,
                                           .connection_id = given->holder.connection_id});
    struct waiter *next = put_back(pool, given, state, now_ns);
    pool_unlock(pool);
    pool_wake(next);
}
