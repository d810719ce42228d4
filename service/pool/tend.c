/* The tender: a thread that reads the rest of answers whose callers gave up, and that closes
 * connections and waits until the server lets go of them. */
#include "service/pool/lock.h"
#include "service/pool/queue.h"
#include "service/pool/slots.h"
#include "service/pool/threads.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/base/thread_state.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Only the tender uses it: no lock. */
struct tending {
    struct db_pool *pool;
    struct db_slot **slots; /* max_size long: those DRAINING, CANCELLING or CLOSING */
    struct pollfd *fds;     /* first the wake-up, then one for each slot */
    unsigned count;
    bool is_last; /* the pool is being freed: do not wait for anything */
};

static bool is_tended(enum slot_state state)
{
    return state == SLOT_DRAINING || state == SLOT_CANCELLING || state == SLOT_CLOSING;
}

static void list_slots(struct tending *tending)
{
    struct db_pool *pool = tending->pool;
    tending->count = 0;
    pool_lock(pool);
    for (unsigned i = 0; i < pool->config.max_size; i++) {
        struct db_slot *slot = &pool->slots[i];
        if (is_tended(slot->state))
            tending->slots[tending->count++] = slot;
    }
    tending->is_last = pool->is_ending;
    pool_unlock(pool);
}

/* Decides what happens to a connection whose caller gave up: wait, hand over, roll back, cancel or
 * close. Lock held. */
static void decide(struct db_pool *pool, struct db_slot *slot, enum db_conn_state state)
{
    pool_assert_held(pool);
    assert(slot->state == SLOT_DRAINING || slot->state == SLOT_CANCELLING);
    int64_t now_ns = clock_now_ns();
    bool is_cancelling = slot->state == SLOT_CANCELLING;
    bool is_late =
        now_ns >= slot->tend_until_ns || (is_cancelling && slot->cancel == CANCEL_FAILED);
    bool may_go_on = !is_cancelling || slot->cancel == CANCEL_TAKEN;
    enum db_pool_reason perished = pool_slot_perished(pool, slot, now_ns);
    if (pool->state == DB_POOL_CLOSED)
        pool_slot_retire(pool, slot, slot->state, CLOSED_POOL_CLOSED);
    else if (state == DB_CONN_BROKEN || state == DB_CONN_OUTDATED)
        pool_slot_retire(pool, slot, slot->state, CLOSED_ERROR);
    else if (state == DB_CONN_IDLE && may_go_on && perished != REASON_NONE)
        pool_slot_retire(pool, slot, slot->state, perished);
    else if (state == DB_CONN_IDLE && may_go_on)
        pool_wake(pool_hand_over(pool, slot, slot->state, now_ns));
    else if (state == DB_CONN_IN_TRANSACTION && may_go_on && !is_late)
        pool->config.connector.rollback(slot->connection);
    else if (is_late && (is_cancelling || !pool_begin_cancel(pool, slot)))
        pool_slot_retire(pool, slot, slot->state, CLOSED_ERROR);
}

/* Takes in what has arrived, and decides. Returns the slot's state. */
static enum slot_state drain(struct db_pool *pool, struct db_slot *slot)
{
    enum db_conn_state state = pool->config.connector.consume(slot->connection);
    pool_lock(pool);
    decide(pool, slot, state);
    enum slot_state after = slot->state;
    pool_unlock(pool);
    return after;
}

/* Whether the server has let go: end-of-file or an error. Drops what it still sends. */
static bool is_gone(int fd)
{
    char rest[4096];
    ssize_t got;
    while ((got = read(fd, rest, sizeof rest)) > 0)
        continue;
    return got == 0 || (errno != EAGAIN && errno != EINTR);
}

/* Closes a connection. Returns the slot's state: CLOSING while the server has not let go. */
static enum slot_state close_slot(struct db_pool *pool, struct db_slot *slot, bool is_last)
{
    if (slot->connection) {
        slot->closing_fd = pool->config.connector.close(slot->connection);
        slot->connection = NULL;
    }
    if (slot->closing_fd >= 0 && !is_last && clock_now_ns() < slot->tend_until_ns &&
        !is_gone(slot->closing_fd))
        return SLOT_CLOSING;
    if (slot->closing_fd >= 0)
        close(slot->closing_fd);
    pool_lock(pool);
    pool_slot_set_state(pool, slot, SLOT_CLOSING, SLOT_EMPTY);
    CHECK_PTHREAD(pthread_cond_signal(&pool->connector_work));
    pool_unlock(pool);
    return SLOT_EMPTY;
}

/* Does for each slot what is possible without waiting, and keeps those that need more. */
static void tend(struct tending *tending)
{
    struct db_pool *pool = tending->pool;
    unsigned kept = 0;
    for (unsigned i = 0; i < tending->count; i++) {
        struct db_slot *slot = tending->slots[i];
        enum slot_state state = slot->state;
        if (state != SLOT_CLOSING)
            state = drain(pool, slot);
        if (state == SLOT_CLOSING)
            state = close_slot(pool, slot, tending->is_last);
        if (is_tended(state))
            tending->slots[kept++] = slot;
    }
    tending->count = kept;
}

static void wait_for_work(struct tending *tending)
{
    const struct db_pool *pool = tending->pool;
    int64_t until_ns = CLOCK_NEVER;
    bool drains = false;
    uint64_t wakes;
    tending->fds[0] = (struct pollfd){.fd = pool->tender_wake_fd, .events = POLLIN};
    for (unsigned i = 0; i < tending->count; i++) {
        const struct db_slot *slot = tending->slots[i];
        bool is_draining = slot->state != SLOT_CLOSING;
        int fd = is_draining ? pool->config.connector.socket(slot->connection) : slot->closing_fd;
        tending->fds[i + 1] = (struct pollfd){.fd = fd, .events = POLLIN};
        drains = drains || is_draining;
        if (slot->tend_until_ns < until_ns)
            until_ns = slot->tend_until_ns;
    }
    thread_state_set(drains ? THREAD_QUERY : THREAD_IDLE);
    poll(tending->fds, tending->count + 1, clock_poll_ms(until_ns, 60000));
    (void)!read(pool->tender_wake_fd, &wakes, sizeof wakes);
}

static void *tender_main(void *argument)
{
    struct db_pool *pool = argument;
    struct tending tending = {.pool = pool,
                              .slots = calloc(pool->config.max_size, sizeof(struct db_slot *)),
                              .fds = calloc(pool->config.max_size + 1, sizeof(struct pollfd))};
    assert(tending.slots && tending.fds);
    thread_state_enter("tender", "");
    for (list_slots(&tending); !tending.is_last || tending.count > 0; list_slots(&tending)) {
        tend(&tending);
        if (!tending.is_last)
            wait_for_work(&tending);
    }
    thread_state_leave();
    free(tending.fds);
    free(tending.slots);
    return NULL;
}

bool pool_tender_start(struct db_pool *pool)
{
    pool->tender_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->tender_wake_fd < 0)
        return false;
    if (pthread_create(&pool->tender, NULL, tender_main, pool) == 0)
        return true;
    close(pool->tender_wake_fd);
    return false;
}

void pool_tender_stop(struct db_pool *pool)
{
    pool_lock(pool);
    pool->is_ending = true;
    pool_unlock(pool);
    pool_wake_tender(pool);
    CHECK_PTHREAD(pthread_join(pool->tender, NULL));
    close(pool->tender_wake_fd);
}
