/* The pool as a whole: open, close, free. */
#include "service/pool/lock.h"
#include "service/pool/slots.h"
#include "service/pool/threads.h"

#include "common/check.h"
#include "common/clock.h"

void db_pool_close(struct db_pool *pool)
{
    if (!pool_begin_close(pool))
        return;
    pool_wake_tender(pool);
    pool_connectors_stop(pool);
    pool_background_stop(pool);
}

static void init(struct db_pool *pool)
{
    pool->counts[SLOT_EMPTY] = pool->config.max_size;
    LIST_INIT(&pool->idle);
    TAILQ_INIT(&pool->queue);
    STAILQ_INIT(&pool->cancels);
    pool->random = (uint64_t)clock_now_ns() | 1;
    pool_state_init(pool);
    CHECK_PTHREAD(pthread_mutex_init(&pool->mutex, NULL));
    clock_cond_init(&pool->connector_work);
    clock_cond_init(&pool->background_work);
    clock_cond_init(&pool->cancel_work);
}

static void destroy(struct db_pool *pool)
{
    CHECK_PTHREAD(pthread_cond_destroy(&pool->cancel_work));
    CHECK_PTHREAD(pthread_cond_destroy(&pool->background_work));
    CHECK_PTHREAD(pthread_cond_destroy(&pool->connector_work));
    CHECK_PTHREAD(pthread_mutex_destroy(&pool->mutex));
}

static void free_memory(struct db_pool *pool)
{
    if (pool) {
        free(pool->last_timeout_holders);
        free(pool->awaiting);
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
    // NOLINTNEXTLINE(bugprone-sizeof-expression): these are pointers
    pool->awaiting = calloc(config->max_size, sizeof *pool->awaiting);
    if (pool_recorder_init(pool) && pool->slots && pool->connectors && pool->last_timeout_holders &&
        pool->awaiting)
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
    assert(config->address && config->policy && config->connector.connect);
    assert(config->max_size > 0 && config->min_size <= config->max_size &&
           config->max_connecting > 0);
    struct db_pool *pool = allocate(config);
    if (pool) {
        init(pool);
        pool_lock(pool);
        pool_emit(pool, (struct db_pool_event){.type = POOL_CREATED});
        pool_unlock(pool);
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
    pool_lock(pool);
    assert(pool->state == DB_POOL_CLOSED);
    bool all_back = pool->counts[SLOT_IN_USE] == 0;
    pool_unlock(pool);
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
