/* The pool as a whole: open, ready, clear, close, free. */
#include "service/db_pool_queue.h"
#include "service/db_pool_slots.h"
#include "service/db_pool_threads.h"

#include "common/check.h"
#include "common/clock.h"

/* CMAP, "PoolClosedError", as Go writes errors: without a capital. */
static const char pool_closed_text[] =
    "attempted to check out a connection from closed connection pool";

void pool_make_ready(struct db_pool *pool)
{
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
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    pool_make_ready(pool);
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
}

/* CMAP, "PoolClearedError". */
static void note_cause(struct db_pool *pool, const struct failure *cause)
{
    failure_set(&pool->cleared, FAILURE_UNAVAILABLE,
                "connection pool for %s was cleared because another operation failed with: %s",
                pool->config.address, cause->message);
    memcpy(pool->cleared.sqlstate, cause->sqlstate, sizeof cause->sqlstate);
}

/* Connects under way are given up, connections in use break under their holders. Their ends are
 * known from now on, whenever they come in. */
static void interrupt_all(struct db_pool *pool)
{
    for (unsigned i = 0; i < pool->config.max_size; i++) {
        struct db_lease *slot = &pool->slots[i];
        if (slot->is_closed)
            continue;
        if (slot->state == SLOT_CONNECTING) {
            pool_slot_say_closed(pool, slot, CLOSED_STALE);
            pool_interrupt_connect(slot);
        } else if (slot->state == SLOT_IN_USE) {
            pool_slot_say_closed(pool, slot, CLOSED_STALE);
            pool->config.connector.interrupt(slot->connection);
        }
    }
}

void pool_clear(struct db_pool *pool, const struct failure *cause, bool interrupt)
{
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
    pool->background_due = true;
    CHECK_PTHREAD(pthread_cond_signal(&pool->background_work));
    CHECK_PTHREAD(pthread_cond_signal(&pool->connector_work));
}

void db_pool_clear(struct db_pool *pool, const struct failure *cause, bool interrupt)
{
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    pool_clear(pool, cause, interrupt);
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
}

/* Turns everybody away. False when that was done before. */
static bool begin_close(struct db_pool *pool)
{
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    bool is_first = pool->state != DB_POOL_CLOSED;
    if (is_first) {
        pool_retire_idle(pool, CLOSED_POOL_CLOSED, clock_now_ns());
        pool->state = DB_POOL_CLOSED;
        pool_emit(pool, (struct db_pool_event){.type = POOL_CLOSED});
        pool_evict_waiters(pool, &pool->closed, FAILED_POOL_CLOSED);
        for (unsigned i = 0; i < pool->config.max_size; i++)
            if (pool->slots[i].state == SLOT_CONNECTING)
                pool_interrupt_connect(&pool->slots[i]);
        CHECK_PTHREAD(pthread_cond_broadcast(&pool->connector_work));
        CHECK_PTHREAD(pthread_cond_broadcast(&pool->background_work));
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    return is_first;
}

void db_pool_close(struct db_pool *pool)
{
    if (!begin_close(pool))
        return;
    pool_wake_tender(pool);
    pool_connectors_stop(pool);
    pool_background_stop(pool);
}

/* "Nested" is no error of CMAP's; the text is ours. */
static const char nested_text[] =
    "nested checkout: every connection is held by a thread that waits for another one itself";

/* Nor is this. */
static const char called_off_text[] = "called off: another item of the request had failed";

static void init(struct db_pool *pool)
{
    const struct failure never_ready = {.message = "it has not been ready yet"};
    pool->counts[SLOT_EMPTY] = pool->config.max_size;
    pool->random = (uint64_t)clock_now_ns() | 1;
    failure_set(&pool->closed, FAILURE_UNAVAILABLE, "%s", pool_closed_text);
    failure_set(&pool->nested, FAILURE_UNAVAILABLE, "%s", nested_text);
    failure_set(&pool->called_off, FAILURE_CALLED_OFF, "%s", called_off_text);
    note_cause(pool, &never_ready);
    CHECK_PTHREAD(pthread_mutex_init(&pool->lock, NULL));
    clock_cond_init(&pool->connector_work);
    clock_cond_init(&pool->background_work);
    clock_cond_init(&pool->cancel_work);
}

static void destroy(struct db_pool *pool)
{
    CHECK_PTHREAD(pthread_cond_destroy(&pool->cancel_work));
    CHECK_PTHREAD(pthread_cond_destroy(&pool->background_work));
    CHECK_PTHREAD(pthread_cond_destroy(&pool->connector_work));
    CHECK_PTHREAD(pthread_mutex_destroy(&pool->lock));
}

static void free_memory(struct db_pool *pool)
{
    if (pool) {
        free(pool->last_timeout_holders);
        free(pool->ring);
        free(pool->connectors);
        free(pool->slots);
    }
    free(pool);
}

/* NULL without memory. */
static struct db_pool *allocate(const struct db_pool_config *config)
{
    struct db_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->config = *config;
    pool->slots = calloc(config->max_size, sizeof *pool->slots);
    pool->connectors = calloc(config->max_connecting, sizeof *pool->connectors);
    pool->last_timeout_holders = calloc(config->max_size, sizeof *pool->last_timeout_holders);
    if (pool_recorder_init(pool) && pool->slots && pool->connectors && pool->last_timeout_holders)
        return pool;
    free_memory(pool);
    return NULL;
}

/* Starts all threads, or none. */
static bool start_threads(struct db_pool *pool)
{
    if (!pool_tender_start(pool))
        return false;
    bool has_canceller = pool_canceller_start(pool);
    if (has_canceller && pool_connectors_start(pool) && pool_background_start(pool))
        return true;
    db_pool_close(pool);
    pool_tender_stop(pool);
    bool has_ended = !has_canceller || pool_canceller_stop(pool);
    assert(has_ended); /* there was nothing to cancel */
    return false;
}

struct db_pool *db_pool_open(const struct db_pool_config *config, struct failure *failure)
{
    assert(config->max_size > 0 && config->min_size <= config->max_size &&
           config->max_connecting > 0);
    struct db_pool *pool = allocate(config);
    if (pool) {
        init(pool);
        pool_emit(pool, (struct db_pool_event){.type = POOL_CREATED});
        if (start_threads(pool))
            return pool;
        destroy(pool);
    }
    failure_set(failure, FAILURE_UNAVAILABLE, "the connection pool cannot start: no %s",
                pool ? "descriptors or threads" : "memory");
    free_memory(pool);
    return NULL;
}

bool db_pool_free(struct db_pool *pool)
{
    CHECK_PTHREAD(pthread_mutex_lock(&pool->lock));
    assert(pool->state == DB_POOL_CLOSED);
    bool all_back = pool->counts[SLOT_IN_USE] == 0;
    CHECK_PTHREAD(pthread_mutex_unlock(&pool->lock));
    if (!all_back)
        return false;
    if (!pool_canceller_stop(pool))
        return false;
    pool_tender_stop(pool);
    assert(pool->counts[SLOT_EMPTY] == pool->config.max_size);
    destroy(pool);
    free_memory(pool);
    return true;
}
