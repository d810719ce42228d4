/* The pool's own state: paused, ready, closed. */
#include "service/pool/lock.h"
#include "service/pool/pool_private.h"
#include "service/pool/queue.h"
#include "service/pool/slots.h"

#include "common/check.h"
#include "common/clock.h"

/* CMAP, "PoolClosedError", as Go writes errors: without a capital. */
static const char pool_closed_text[] =
    "attempted to check out a connection from closed connection pool";

/* CMAP has no error for a nested checkout. */
static const char nested_text[] =
    "nested checkout: every connection is held by a thread that waits for another one itself";

/* CMAP has no error for this either. */
static const char called_off_text[] = "called off: another item of the request had failed";

/* CMAP, "PoolClearedError". */
static void note_cause(struct db_pool *pool, const struct failure *cause)
{
    failure_set(&pool->cleared, FAILURE_UNAVAILABLE,
                "connection pool for %s was cleared because another operation failed with: %s",
                pool->config.address, cause->message);
    memcpy(pool->cleared.sqlstate, cause->sqlstate, sizeof cause->sqlstate);
}

void pool_state_init(struct db_pool *pool)
{
    const struct failure never_ready = {.message = "it has not been ready yet"};
    pool->state = DB_POOL_PAUSED;
    failure_set(&pool->closed, FAILURE_UNAVAILABLE, "%s", pool_closed_text);
    failure_set(&pool->nested, FAILURE_UNAVAILABLE, "%s", nested_text);
    failure_set(&pool->called_off, FAILURE_CALLED_OFF, "%s", called_off_text);
    note_cause(pool, &never_ready);
}

void pool_make_ready(struct db_pool *pool)
{
    pool_assert_held(pool);
    if (pool->state != DB_POOL_PAUSED)
        return;
    pool->state = DB_POOL_READY;
    pool->back_off_ns = 0;
    pool->retry_at_ns = 0;
    pool_emit(pool, (struct db_pool_event){.type = POOL_READY});
    CHECK_PTHREAD(pthread_cond_broadcast(&pool->connector_work));
}

void db_pool_ready(struct db_pool *pool)
{
    pool_lock(pool);
    pool_make_ready(pool);
    pool_unlock(pool);
}

/* Gives up the connects under way and breaks the connections in use. ConnectionClosed is emitted
 * now, not at their check-in. */
static void interrupt_all(struct db_pool *pool)
{
    pool_assert_held(pool);
    for (unsigned i = 0; i < pool->config.max_size; i++) {
        struct db_slot *slot = &pool->slots[i];
        if (slot->is_closed)
            continue;
        if (slot->state == SLOT_CONNECTING) {
            pool_slot_say_closed(pool, slot, CLOSED_STALE);
            pool_slot_interrupt_connect(slot);
        } else if (slot->state == SLOT_IN_USE) {
            pool_slot_say_closed(pool, slot, CLOSED_STALE);
            pool->config.connector.interrupt(slot->connection);
        }
    }
}

void pool_clear(struct db_pool *pool, const struct failure *cause, bool interrupt)
{
    pool_assert_held(pool);
    if (pool->state == DB_POOL_CLOSED)
        return;
    pool->generation++;
    pool->connecting = pool->awaited = 0;
    note_cause(pool, cause);
    if (pool->state == DB_POOL_READY) {
        pool->state = DB_POOL_PAUSED;
        pool_emit(pool, (struct db_pool_event){.type = POOL_CLEARED, .interrupt = interrupt});
    }
    if (interrupt)
        interrupt_all(pool);
    pool_evict_waiters(pool, &pool->cleared, FAILED_CONNECTION_ERROR);
    assert(pool->waiting == 0 && pool->awaited == 0);
    pool->background_due = true;
    CHECK_PTHREAD(pthread_cond_signal(&pool->background_work));
    CHECK_PTHREAD(pthread_cond_signal(&pool->connector_work));
}

void pool_renew(struct db_pool *pool)
{
    pool_assert_held(pool);
    assert(pool->state != DB_POOL_CLOSED);
    pool->generation++;
    pool->connecting = pool->awaited = 0;
    pool->background_due = true;
    CHECK_PTHREAD(pthread_cond_signal(&pool->background_work));
    CHECK_PTHREAD(pthread_cond_broadcast(&pool->connector_work));
}

void db_pool_clear(struct db_pool *pool, const struct failure *cause, bool interrupt)
{
    pool_lock(pool);
    pool_clear(pool, cause, interrupt);
    pool_unlock(pool);
}

bool pool_begin_close(struct db_pool *pool)
{
    pool_lock(pool);
    bool is_first = pool->state != DB_POOL_CLOSED;
    if (is_first) {
        pool_retire_idle(pool, CLOSED_POOL_CLOSED, clock_now_ns());
        pool->state = DB_POOL_CLOSED;
        pool_emit(pool, (struct db_pool_event){.type = POOL_CLOSED});
        pool_evict_waiters(pool, &pool->closed, FAILED_POOL_CLOSED);
        assert(pool->waiting == 0 && LIST_EMPTY(&pool->idle));
        for (unsigned i = 0; i < pool->config.max_size; i++)
            if (pool->slots[i].state == SLOT_CONNECTING)
                pool_slot_interrupt_connect(&pool->slots[i]);
        CHECK_PTHREAD(pthread_cond_broadcast(&pool->connector_work));
        CHECK_PTHREAD(pthread_cond_broadcast(&pool->background_work));
    }
    pool_unlock(pool);
    return is_first;
}
