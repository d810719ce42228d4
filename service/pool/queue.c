/* The wait queue, and the hand-over of connections to it. */
#include "service/pool/queue.h"
#include "service/pool/lock.h"
#include "service/pool/policy_private.h"
#include "service/pool/slots.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/base/thread_state.h"

_Static_assert(sizeof((struct db_holder){0}.request) == THREAD_REQUEST_SIZE,
               "a holder has room for a thread's request");

/* Announces a post to the waiter, which waits for it; pool_wake() must follow. */
static struct waiter *promise_wake(struct waiter *waiter)
{
    waiter->posts++;
    return waiter;
}

void pool_wake(struct waiter *waiter)
{
    int failed = waiter ? sem_post(&waiter->woken) : 0;
    assert(!failed);
}

void pool_spare_waiters(struct db_pool *pool)
{
    pool_assert_held(pool);
    unsigned left = pool->config.policy->spared_waiters(pool);
    int64_t now_ns = left > 0 ? clock_now_ns() : 0;
    struct waiter *waiter = TAILQ_FIRST(&pool->queue);
    for (; waiter && left > 0; waiter = TAILQ_NEXT(waiter, link)) {
        if (waiter->deadline_ns <= now_ns)
            continue; /* its deadline has passed: it leaves by itself */
        left--;
        if (waiter->deadline_ns == waiter->checkout->deadline_ns)
            continue;
        waiter->deadline_ns = waiter->checkout->deadline_ns;
        pool_wake(promise_wake(waiter));
    }
}

static void queue_append(struct db_pool *pool, struct waiter *waiter)
{
    pool_assert_held(pool);
    assert(LIST_EMPTY(&pool->idle) && !waiter->queued);
    waiter->queued = true;
    TAILQ_INSERT_TAIL(&pool->queue, waiter, link);
    pool->waiting++;
    pool->held_by_waiting += waiter->held;
}

static void queue_remove(struct db_pool *pool, struct waiter *waiter)
{
    pool_assert_held(pool);
    assert(waiter->queued && pool->waiting > 0);
    assert(pool->held_by_waiting >= waiter->held);
    waiter->queued = false;
    TAILQ_REMOVE(&pool->queue, waiter, link);
    pool->waiting--;
    pool->held_by_waiting -= waiter->held;
    if (pool->awaited > pool->waiting)
        pool->awaited = pool->waiting;
    pool_spare_waiters(pool); /* the next waiter may now be one that a connect is for */
}

/* A new waiter: where CMAP would let it connect, and a connect is under way that is for no waiter
 * (min_size), that one is for it. */
static void adopt_connect(struct db_pool *pool)
{
    pool_assert_held(pool);
    if (pool->waiting > pool->connecting || pool->counts[SLOT_EMPTY] == 0 ||
        pool->counts[SLOT_CONNECTING] >= pool->config.max_connecting)
        return;
    pool->awaited++;
    pool_spare_waiters(pool);
}

/* For its present request: what a thread kept of an earlier one is a leak, and no nesting. */
static unsigned count_held(const struct db_pool *pool, const struct waiter *waiter)
{
    pool_assert_held(pool);
    unsigned held = 0;
    for (unsigned i = 0; i < pool->config.max_size; i++) {
        const struct db_slot *slot = &pool->slots[i];
        held += slot->state == SLOT_IN_USE && slot->holder.tid == waiter->tid &&
                slot->holder.turn == waiter->turn;
    }
    return held;
}

bool pool_is_nested(const struct db_pool *pool, struct waiter *waiter)
{
    pool_assert_held(pool);
    waiter->held = count_held(pool, waiter);
    return waiter->held > 0 && pool->held_by_waiting + waiter->held == pool->config.max_size;
}

void pool_wait_turn(struct db_pool *pool, struct waiter *waiter)
{
    pool_assert_held(pool);
    enum thread_state former = thread_state_set(THREAD_POOL_CHECKOUT);
    unsigned taken = 0; /* wake-ups */
    waiter->posts = 0;
    int failed = sem_init(&waiter->woken, 0, 0);
    assert(!failed);
    queue_append(pool, waiter);
    adopt_connect(pool);
    /* A full pool cannot connect. A slot that empties later signals by itself. */
    if (pool->counts[SLOT_EMPTY] > 0)
        CHECK_PTHREAD(pthread_cond_signal(&pool->connector_work));
    while (waiter->queued) {
        int64_t deadline_ns = waiter->deadline_ns;
        pool_unlock(pool);
        taken += clock_sem_wait(&waiter->woken, deadline_ns);
        pool_lock(pool);
        if (waiter->queued && clock_now_ns() >= waiter->deadline_ns)
            queue_remove(pool, waiter);
    }
    while (taken < waiter->posts) /* decided at the last moment: a post is still to come */
        taken += clock_sem_wait(&waiter->woken, CLOCK_NEVER);
    failed = sem_destroy(&waiter->woken);
    assert(!failed && !(waiter->granted && waiter->refused));
    thread_state_set(former);
}

void pool_grant(struct db_pool *pool, struct db_slot *slot, enum slot_state from,
                struct waiter *waiter, int64_t now_ns)
{
    pool_assert_held(pool);
    assert(slot->connection && !waiter->granted && !waiter->refused);
    pool_slot_set_state(pool, slot, from, SLOT_IN_USE);
    slot->holder.tid = waiter->tid;
    slot->holder.turn = waiter->turn;
    memcpy(slot->holder.request, waiter->request, sizeof slot->holder.request);
    slot->holder.call_site = waiter->checkout->call_site;
    slot->holder.query = waiter->checkout->query;
    slot->holder.since_ns = now_ns;
    waiter->granted = slot;
}

struct waiter *pool_hand_over(struct db_pool *pool, struct db_slot *slot, enum slot_state from,
                              int64_t now_ns)
{
    pool_assert_held(pool);
    assert(slot->connection);
    struct waiter *waiter = TAILQ_FIRST(&pool->queue);
    /* Late waiters are passed by: their own deadlines have woken them, and they leave. */
    while (waiter && !waiter->checkout->admit(waiter->deadline_ns, now_ns))
        waiter = TAILQ_NEXT(waiter, link);
    if (waiter) {
        queue_remove(pool, waiter);
        pool_grant(pool, slot, from, waiter, now_ns);
        return promise_wake(waiter);
    }
    pool_slot_set_state(pool, slot, from, SLOT_IDLE);
    slot->idle_since_ns = now_ns;
    LIST_INSERT_HEAD(&pool->idle, slot, idle_link);
    return NULL;
}

static void evict(struct db_pool *pool, struct waiter *waiter, const struct failure *refused,
                  enum db_pool_reason reason)
{
    pool_assert_held(pool);
    assert(refused && !waiter->granted);
    queue_remove(pool, waiter);
    waiter->refused = refused;
    waiter->reason = reason;
    pool_wake(promise_wake(waiter));
}

void pool_evict_waiters(struct db_pool *pool, const struct failure *refused,
                        enum db_pool_reason reason)
{
    pool_assert_held(pool);
    struct waiter *waiter;
    while ((waiter = TAILQ_FIRST(&pool->queue)))
        evict(pool, waiter, refused, reason);
}

void pool_evict_group(struct db_pool *pool, const struct db_checkout_group *group)
{
    pool_assert_held(pool);
    struct waiter *next;
    for (struct waiter *waiter = TAILQ_FIRST(&pool->queue); waiter; waiter = next) {
        next = TAILQ_NEXT(waiter, link); /* valid: its thread cannot leave without the lock */
        if (waiter->checkout->group == group)
            evict(pool, waiter, &pool->called_off, FAILED_CALLED_OFF);
    }
}

void db_pool_call_off(struct db_pool *pool, struct db_checkout_group *group)
{
    assert(group);
    pool_lock(pool);
    /* Under the lock, so that a checkout that reaches the queue after the walk sees it. */
    if (!atomic_exchange(&group->called_off, true))
        pool_evict_group(pool, group);
    pool_unlock(pool);
}
