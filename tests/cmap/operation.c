#include "tests/cmap/operation.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/base/thread_state.h"
#include "service/variants/admission/admission.h"
#include "tests/cmap/thread.h"

#include <errno.h>

/* How long a checkout waits if the file has no waitQueueTimeoutMS. No file waits that long. */
#define CHECKOUT_PATIENCE_NS (20 * CLOCK_NS_PER_S)

/* CMAP's name of the error, from the reason in its event. */
static const char *error_type(enum db_pool_reason reason)
{
    switch (reason) {
    case FAILED_POOL_CLOSED:
        return "PoolClosedError";
    case FAILED_TIMEOUT:
        return "WaitQueueTimeoutError";
    case FAILED_CONNECTION_ERROR:
        return "PoolClearedError";
    default:
        return NULL;
    }
}

/* Handles a failed checkout: finds its error, and checks the pool's event against it. */
static void note_error(struct cmap_session *session, const struct failure *failure, bool is_late,
                       struct cmap_error *error)
{
    enum db_pool_reason reason = cmap_recorder_last_failure(&session->recorder, thread_state_tid());
    const char *type = error_type(reason);
    bool is_timeout = failure->kind == FAILURE_CHECKOUT_TIMEOUT;
    if (!type || is_timeout != (reason == FAILED_TIMEOUT)) {
        cmap_session_fail(session, "checkOut failed with \"%s\", its event's reason is \"%s\"",
                          failure->message, db_pool_reason_name(reason));
        return;
    }
    if (is_timeout && is_late) {
        cmap_session_fail(session, "checkOut had neither a connection nor an error after %lld s",
                          (long long)(CHECKOUT_PATIENCE_NS / CLOCK_NS_PER_S));
        return;
    }
    error->type = type;
    snprintf(error->message, sizeof error->message, "%s", failure->message);
}

static void check_out(struct cmap_session *session, const struct cmap_operation *operation,
                      struct cmap_error *error)
{
    struct db_checkout checkout = {.deadline_ns = clock_now_ns() + CHECKOUT_PATIENCE_NS,
                                   .admit = admission_deadline.admit,
                                   .call_site = "tests/cmap/operation.c",
                                   .query = "none"};
    struct db_slot *slot;
    struct failure failure;
    if (db_pool_checkout(session->pool, &checkout, &slot, &failure))
        cmap_session_keep(session, operation->label, slot);
    else
        note_error(session, &failure, clock_now_ns() >= checkout.deadline_ns, error);
}

static void check_in(struct cmap_session *session, const struct cmap_operation *operation)
{
    struct db_slot *slot = cmap_session_take(session, operation->label);
    if (slot)
        db_pool_checkin(session->pool, &slot);
    else
        cmap_session_fail(session, "checkIn: no connection %s is checked out", operation->label);
}

static void wait_for_event(struct cmap_session *session, const struct cmap_operation *operation)
{
    unsigned seen = cmap_recorder_wait(&session->recorder, operation->event, operation->count,
                                       clock_now_ns() + operation->ms * CLOCK_NS_PER_MS);
    if (seen < operation->count)
        cmap_session_fail(session, "waitForEvent: %u of %u %s after %lld ms", seen,
                          operation->count, db_pool_event_name(operation->event),
                          (long long)operation->ms);
}

/* A fixed wait of the format. It ends early if the scenario ends. */
static void wait_ms(struct cmap_session *session, int64_t ms)
{
    struct timespec until = clock_timespec(clock_now_ns() + ms * CLOCK_NS_PER_MS);
    int result = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
    while (!session->is_ending && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&session->changed, &session->lock, &until);
    CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
}

void cmap_operation_execute(struct cmap_session *session, const struct cmap_operation *operation,
                            struct cmap_error *error)
{
    static const struct failure cause = {.message = "the scenario says so"};
    switch (operation->kind) {
    case CMAP_START:
        cmap_thread_start(session, operation->target);
        break;
    case CMAP_WAIT:
        wait_ms(session, operation->ms);
        break;
    case CMAP_WAIT_FOR_THREAD:
        cmap_thread_wait(session, operation->target, error);
        break;
    case CMAP_WAIT_FOR_EVENT:
        wait_for_event(session, operation);
        break;
    case CMAP_CHECK_OUT:
        check_out(session, operation, error);
        break;
    case CMAP_CHECK_IN:
        check_in(session, operation);
        break;
    case CMAP_CLEAR:
        db_pool_clear(session->pool, &cause, operation->interrupt);
        break;
    case CMAP_CLOSE:
        db_pool_close(session->pool);
        break;
    case CMAP_READY:
        db_pool_ready(session->pool);
        break;
    }
}
