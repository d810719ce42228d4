/* The canceller: one thread that has queries cancelled in the server, one after the other. A cancel
 * blocks, for as long as a connect does, and costs the server a process: so there is never more
 * than one.
 *
 * A cancel names a server process, not a query. So its connection stays CANCELLING, and nobody's,
 * until the server has taken the cancel: one that came late would end the next borrower's query. */
#include "service/db_pool_slots.h"
#include "service/db_pool_threads.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/thread_state.h"

/* How long the end of a pool waits for a cancel under way. libpq has no bound for it. */
#define LAST_CANCEL_NS CLOCK_NS_PER_S

bool pool_begin_cancel(struct db_pool *pool, struct db_lease *slot)
{
    /* Behind a server that does not answer, no more of them pile up than there are connections. */
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
    if (pool->cancel_last)
        pool->cancel_last->next = job;
    else
        pool->cancel_first = job;
    pool->cancel_last = job;
    pool->cancels_queued++;
    slot->cancel = CANCEL_PENDING;
    slot->tend_until_ns = clock_now_ns() + pool->config.cancel_timeout_ns;
    pool_slot_set_state(pool, slot, SLOT_DRAINING, SLOT_CANCELLING);
    CHECK_PTHREAD(pthread_cond_signal(&pool->cancel_work));
    return true;
}

static struct pool_cancel *take_job(struct db_pool *pool)
{
    struct pool_cancel *job = pool->cancel_first;
    pool->cancel_first = job->next;
    pool->cancels_queued--;
    if (!pool->cancel_first)
        pool->cancel_last = NULL;
    return job;
}

/* Whether the connection that the job was made for still waits for it. Lock held. */
static bool is_wanted(const struct pool_cancel *job)
{
    return job->slot->state == SLOT_CANCELLING &&
           job->slot->holder.connection_id == job->connection_id;
}

/* Lock held, and given up while the server is asked. */
static void do_job(struct db_pool *pool, struct pool_cancel *job)
{
    if (pool->state == DB_POOL_CLOSED || !is_wanted(job)) {
        pool->config.connector.cancel_drop(job->cancel);
        return;
    }
    pool->is_cancel_under_way = true;
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    thread_state_set(THREAD_RUNNING);
    bool taken = pool->config.connector.cancel_send(job->cancel);
    thread_state_set(THREAD_IDLE);
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    pool->is_cancel_under_way = false;
    if (!is_wanted(job))
        return;
    job->slot->cancel = taken ? CANCEL_TAKEN : CANCEL_FAILED;
    pool_wake_tender(pool);
}

static void *canceller_main(void *argument)
{
    struct db_pool *pool = argument;
    thread_state_enter("canceller", "");
    thread_state_set(THREAD_IDLE);
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    while (!pool->is_ending || pool->cancel_first) {
        if (!pool->cancel_first) {
            CHECK_PTHREAD(pthread_cond_wait(&pool->cancel_work, &pool->lock));
            continue;
        }
        struct pool_cancel *job = take_job(pool);
        do_job(pool, job);
        free(job);
    }
    pool->has_canceller_ended = true;
    CHECK_PTHREAD(pthread_cond_broadcast(&pool->cancel_work));
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    thread_state_leave();
    return NULL;
}

bool pool_canceller_start(struct db_pool *pool)
{
    return pthread_create(&pool->canceller, NULL, canceller_main, pool) == 0;
}

bool pool_canceller_stop(struct db_pool *pool)
{
    struct timespec until = clock_timespec(clock_now_ns() + LAST_CANCEL_NS);
    int result = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    pool->is_ending = true;
    CHECK_PTHREAD(pthread_cond_broadcast(&pool->cancel_work));
    while (!pool->has_canceller_ended && result == 0)
        result = pool->is_cancel_under_way
                     ? pthread_cond_timedwait(&pool->cancel_work, &pool->lock, &until)
                     : pthread_cond_wait(&pool->cancel_work, &pool->lock);
    bool has_ended = pool->has_canceller_ended;
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    if (has_ended)
        CHECK_PTHREAD(pthread_join(pool->canceller, NULL));
    return has_ended;
}
