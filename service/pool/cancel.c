/* The canceller: one thread that asks the server to cancel queries, one at a time. A cancel blocks
 * for as long as a connect, and costs the server a process, so there is never more than one.
 *
 * A cancel names a server process, not a query. A late one would end the next caller's query. So
 * the connection stays CANCELLING until the server has taken the cancel. */
#include "service/pool/lock.h"
#include "service/pool/slots.h"
#include "service/pool/threads.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/base/thread_state.h"

/* How long the end of a pool waits for a cancel under way. libpq has no limit for it. */
#define LAST_CANCEL_NS CLOCK_NS_PER_S

bool pool_begin_cancel(struct db_pool *pool, struct db_slot *slot)
{
    pool_assert_held(pool);
    assert(slot->state == SLOT_DRAINING && slot->connection);
    /* The limit, when the server does not answer: one for each connection. */
    if (pool->cancels_queued >= pool->config.max_size)
        return false;
    void *cancel = pool->config.connector.cancel_prepare(slot->connection);
    struct pool_cancel *job = cancel ? calloc(1, sizeof *job) : NULL;
    if (!job) {
        if (cancel)
            pool->config.connector.cancel_drop(cancel);
        return false;
    }
    *job = (struct pool_cancel){
        .cancel = cancel, .slot = slot, .connection_id = slot->holder.connection_id};
    STAILQ_INSERT_TAIL(&pool->cancels, job, link);
    pool->cancels_queued++;
    slot->cancel = CANCEL_PENDING;
    slot->tend_until_ns = clock_now_ns() + pool->config.cancel_timeout_ns;
    pool_slot_set_state(pool, slot, SLOT_DRAINING, SLOT_CANCELLING);
    CHECK_PTHREAD(pthread_cond_signal(&pool->cancel_work));
    return true;
}

static struct pool_cancel *take_job(struct db_pool *pool)
{
    pool_assert_held(pool);
    struct pool_cancel *job = STAILQ_FIRST(&pool->cancels);
    assert(job && pool->cancels_queued > 0);
    STAILQ_REMOVE_HEAD(&pool->cancels, link);
    pool->cancels_queued--;
    return job;
}

/* Whether the job's connection still waits for it. Lock held. */
static bool is_wanted(const struct db_pool *pool, const struct pool_cancel *job)
{
    pool_assert_held(pool);
    return job->slot->state == SLOT_CANCELLING &&
           job->slot->holder.connection_id == job->connection_id;
}

/* Sends one cancel. Lock held, and given up meanwhile. */
static void do_job(struct db_pool *pool, struct pool_cancel *job)
{
    pool_assert_held(pool);
    if (pool->state == DB_POOL_CLOSED || !is_wanted(pool, job)) {
        pool->config.connector.cancel_drop(job->cancel);
        return;
    }
    assert(!pool->is_cancel_under_way);
    pool->is_cancel_under_way = true;
    pool_unlock(pool);
    thread_state_set(THREAD_RUNNING);
    bool taken = pool->config.connector.cancel_send(job->cancel);
    thread_state_set(THREAD_IDLE);
    pool_lock(pool);
    pool->is_cancel_under_way = false;
    if (!is_wanted(pool, job))
        return;
    job->slot->cancel = taken ? CANCEL_TAKEN : CANCEL_FAILED;
    pool_wake_tender(pool);
}

static void *canceller_main(void *argument)
{
    struct db_pool *pool = argument;
    thread_state_enter("canceller", "");
    thread_state_set(THREAD_IDLE);
    pool_lock(pool);
    while (!pool->is_ending || !STAILQ_EMPTY(&pool->cancels)) {
        if (STAILQ_EMPTY(&pool->cancels)) {
            (void)pool_wait(pool, &pool->cancel_work, CLOCK_NEVER);
            continue;
        }
        struct pool_cancel *job = take_job(pool);
        do_job(pool, job);
        free(job);
    }
    pool->has_canceller_ended = true;
    CHECK_PTHREAD(pthread_cond_broadcast(&pool->cancel_work));
    pool_unlock(pool);
    thread_state_leave();
    return NULL;
}

bool pool_canceller_start(struct db_pool *pool)
{
    return pthread_create(&pool->canceller, NULL, canceller_main, pool) == 0;
}

bool pool_canceller_stop(struct db_pool *pool)
{
    int64_t until_ns = clock_now_ns() + LAST_CANCEL_NS;
    bool in_time = true;
    pool_lock(pool);
    pool->is_ending = true;
    CHECK_PTHREAD(pthread_cond_broadcast(&pool->cancel_work));
    while (!pool->has_canceller_ended && in_time)
        in_time =
            pool_wait(pool, &pool->cancel_work, pool->is_cancel_under_way ? until_ns : CLOCK_NEVER);
    bool has_ended = pool->has_canceller_ended;
    pool_unlock(pool);
    if (has_ended)
        CHECK_PTHREAD(pthread_join(pool->canceller, NULL));
    return has_ended;
}
