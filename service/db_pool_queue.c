/* The wait queue, and the hand-over of connections to it. */
#include "service/db_pool_queue.h"
#include "service/db_pool_slots.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/thread_state.h"

#include <errno.h>

_Static_assert(sizeof((struct db_holder){0}.request) == THREAD_REQUEST_SIZE,
               "a holder has room for a thread's request");

/* A wake-up that the waiter will wait for; pool_wake() must follow. */
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
    unsigned left = pool->config.autonomous ? 0 : pool->awaited;
    int64_t now_ns = left > 0 ? clock_now_ns() : 0;
    for (struct waiter *waiter = pool->first; waiter && left > 0; waiter = waiter->next) {
        if (waiter->deadline_ns <= now_ns)
            continue; /* too late: it is about to leave */
        left--;
        if (waiter->deadline_ns == waiter->checkout->deadline_ns)
            continue;
        waiter->deadline_ns = waiter->checkout->deadline_ns;
        pool_wake(promise_wake(waiter));
    }
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
    pool->held_by_waiting += waiter->held;
}

static void queue_remove(struct db_pool *pool, struct waiter *waiter)
{
    assert(waiter->queued);
    waiter->queued = false;
    *(waiter->previous ? &waiter->previous->next : &pool->first) = waiter->next;
    *(waiter->next ? &waiter->next->previous : &pool->last) = waiter->previous;
    pool->waiting--;
    pool->held_by_waiting -= waiter->held;
    if (pool->awaited > pool->waiting)
        pool->awaited = pool->waiting;
    pool_spare_waiters(pool); /* the next may have moved up to a connect */
}

/* One more waiter than before: where CMAP would let it connect, and a connect is under way that
 * nobody has asked for, it waits for that one. */
static void adopt_connect(struct db_pool *pool)
{
    if (pool->waiting > pool->connecting || pool->counts[SLOT_EMPTY] == 0 ||
        pool->counts[SLOT_CONNECTING] >= pool->config.max_connecting)
        return;
    pool->awaited++;
    pool_spare_waiters(pool);
}

static unsigned count_held(const struct db_pool *pool, long tid)
{
    unsigned held = 0;
    for (unsigned i = 0; i < pool->config.max_size; i++)
        held += pool->slots[i].state == SLOT_IN_USE && pool->slots[i].holder.tid == tid;
    return held;
}

bool pool_is_nested(const struct db_pool *pool, struct waiter *waiter)
{
    waiter->held = count_held(pool, waiter->tid);
    return waiter->held > 0 && pool->held_by_waiting + waiter->held == pool->config.max_size;
}

/* False when the deadline passed first. */
static bool await_wake(struct waiter *waiter, int64_t deadline_ns)
{
    struct timespec deadline = clock_timespec(deadline_ns);
    int failed;
    while ((failed = sem_clockwait(&waiter->woken, CLOCK_MONOTONIC, &deadline)) && errno == EINTR)
        continue;
    assert(!failed || errno == ETIMEDOUT);
    return !failed;
}

void pool_wait_turn(struct db_pool *pool, struct waiter *waiter)
{
    enum thread_state former = thread_state_set(THREAD_POOL_CHECKOUT);
    unsigned taken = 0; /* wake-ups */
    waiter->posts = 0;
    int failed = sem_init(&waiter->woken, 0, 0);
    assert(!failed);
    queue_append(pool, waiter);
    adopt_connect(pool);
    /* A full pool has nothing to connect; a slot that empties later says so itself. */
    if (pool->counts[SLOT_EMPTY] > 0)
        CHECK_PTHREAD(pthread_cond_signal(&pool->connector_work));
    while (waiter->queued) {
        int64_t deadline_ns = waiter->deadline_ns;
        CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
        taken += await_wake(waiter, deadline_ns);
        CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
        if (waiter->queued && clock_now_ns() >= waiter->deadline_ns)
            queue_remove(pool, waiter);
    }
    while (taken < waiter->posts) /* decided on at the last moment: the wake-up is on its way */
        taken += await_wake(waiter, CLOCK_NEVER);
    failed = sem_destroy(&waiter->woken);
    assert(!failed);
    thread_state_set(former);
}

void pool_grant(struct db_pool *pool, struct db_lease *slot, enum slot_state from,
                struct waiter *waiter, int64_t now_ns)
{
    pool_slot_set_state(pool, slot, from, SLOT_IN_USE);
    slot->holder.tid = waiter->tid;
    memcpy(slot->holder.request, waiter->request, sizeof slot->holder.request);
    slot->holder.call_site = waiter->checkout->call_site;
    slot->holder.query = waiter->checkout->query;
    slot->holder.since_ns = now_ns;
    waiter->granted = slot;
}

struct waiter *pool_hand_over(struct db_pool *pool, struct db_lease *slot, enum slot_state from,
                              int64_t now_ns)
{
    struct waiter *waiter = pool->first;
    /* Those who may not have it any more have been woken by their own deadlines and leave by
     * themselves. */
    while (waiter && !waiter->checkout->admit(waiter->deadline_ns, now_ns))
        waiter = waiter->next;
    if (waiter) {
        queue_remove(pool, waiter);
        pool_grant(pool, slot, from, waiter, now_ns);
        return promise_wake(waiter);
    }
    pool_slot_set_state(pool, slot, from, SLOT_IDLE);
    slot->idle_since_ns = now_ns;
    slot->next_idle = pool->idle;
    pool->idle = slot;
    return NULL;
}

static void evict(struct db_pool *pool, struct waiter *waiter, const struct failure *refused,
                  enum db_pool_reason reason)
{
    queue_remove(pool, waiter);
    waiter->refused = refused;
    waiter->reason = reason;
    pool_wake(promise_wake(waiter));
}

void pool_evict_waiters(struct db_pool *pool, const struct failure *refused,
                        enum db_pool_reason reason)
{
    while (pool->first)
        evict(pool, pool->first, refused, reason);
}

void pool_evict_group(struct db_pool *pool, const struct db_checkout_group *group)
{
    struct waiter *next;
    for (struct waiter *waiter = pool->first; waiter; waiter = next) {
        next = waiter->next; /* on the stack of a thread that cannot leave without the lock */
        if (waiter->checkout->group == group)
            evict(pool, waiter, &pool->called_off, FAILED_CALLED_OFF);
    }
}
