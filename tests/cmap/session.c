#include "tests/cmap/session.h"

#include "common/check.h"
#include "common/clock.h"
#include "tests/cmap/thread.h"

#include <stdarg.h>

/* The size of the pool's table if a file sets no limit: more than any file uses. */
#define NO_LIMIT 10000

/* Longer than any file takes, so that this timeout never causes what a file expects. */
#define CONNECT_TIMEOUT_NS (30 * CLOCK_NS_PER_S)

static struct db_pool_config make_config(struct cmap_session *session)
{
    const struct cmap_options *options = &session->scenario->options;
    return (struct db_pool_config){
        .address = session->database.address,
        .max_size = options->max_size ? options->max_size : NO_LIMIT,
        .min_size = options->min_size,
        .max_connecting = options->max_connecting,
        .max_idle_ns = options->max_idle_ms * CLOCK_NS_PER_MS,
        .wait_queue_timeout_ns = options->wait_queue_timeout_ms * CLOCK_NS_PER_MS,
        .background_interval_ns = options->background_interval_ms * CLOCK_NS_PER_MS,
        .connect_timeout_ns = CONNECT_TIMEOUT_NS,
        .drain_timeout_ns = CLOCK_NS_PER_S,
        .cancel_timeout_ns = CLOCK_NS_PER_S,
        .close_timeout_ns = 5 * CLOCK_NS_PER_S,
        .policy = &db_pool_policy_cmap,
        .connector = cmap_database_connector(&session->database),
        .on_event = cmap_recorder_on_event,
        .event_context = &session->recorder};
}

bool cmap_session_open(struct cmap_session *session, const struct cmap_scenario *scenario,
                       const struct cmap_settings *settings)
{
    struct failure failure;
    *session = (struct cmap_session){.scenario = scenario};
    CHECK_PTHREAD(pthread_mutex_init(&session->lock, NULL));
    clock_cond_init(&session->changed);
    cmap_recorder_init(&session->recorder);
    cmap_database_init(&session->database, settings, scenario);
    session->slots = calloc(scenario->operation_count + 1, sizeof *session->slots);
    assert(session->slots);
    session->config = make_config(session);
    session->pool = db_pool_open(&session->config, &failure);
    return session->pool || cmap_session_fail(session, "%s", failure.message);
}

/* Comes after the pool is closed: gives back the connections, and then nothing may be left. */
static void end_pool(struct cmap_session *session)
{
    for (size_t i = 0; i < session->slot_count; i++)
        if (session->slots[i].slot)
            db_pool_checkin(session->pool, &session->slots[i].slot);
    if (!db_pool_free(session->pool)) {
        cmap_session_fail(session, "the pool still has connections in use after its end");
        return;
    }
    unsigned left = cmap_database_left_open(&session->database);
    if (left > 0)
        cmap_session_fail(session, "the pool left %u connections open", left);
}

void cmap_session_close(struct cmap_session *session)
{
    CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
    session->is_ending = true;
    CHECK_PTHREAD(pthread_cond_broadcast(&session->changed));
    CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
    cmap_recorder_end(&session->recorder);
    if (session->pool)
        db_pool_close(session->pool); /* also ends the threads' checkouts */
    cmap_threads_end(session);
    if (session->pool)
        end_pool(session);
    free(session->slots);
    cmap_recorder_destroy(&session->recorder);
    CHECK_PTHREAD(pthread_cond_destroy(&session->changed));
    CHECK_PTHREAD(pthread_mutex_destroy(&session->lock));
}

bool cmap_session_fail(struct cmap_session *session, const char *format, ...)
{
    struct cmap_why why;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why.text, sizeof why.text, format, arguments);
    va_end(arguments);
    CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
    cmap_why_set(&session->why, "%s", why.text);
    CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
    return false;
}

bool cmap_session_failed(struct cmap_session *session)
{
    CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
    bool failed = session->why.text[0] != '\0';
    CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
    return failed;
}

void cmap_session_keep(struct cmap_session *session, const char *label, struct db_slot *slot)
{
    CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
    assert(session->slot_count < session->scenario->operation_count);
    session->slots[session->slot_count++] = (struct cmap_slot){label, slot};
    CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
}

struct db_slot *cmap_session_take(struct cmap_session *session, const char *label)
{
    struct db_slot *slot = NULL;
    CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
    for (size_t i = session->slot_count; i > 0 && !slot; i--) {
        struct cmap_slot *kept = &session->slots[i - 1];
        if (kept->slot && kept->label && strcmp(kept->label, label) == 0) {
            slot = kept->slot;
            kept->slot = NULL;
        }
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
    return slot;
}
