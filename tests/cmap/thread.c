#include "tests/cmap/thread.h"

#include "common/check.h"
#include "common/clock.h"
#include "tests/cmap/operation.h"

#include <errno.h>

/* Longer than any operation of a thread may take, shorter than the time limit of a file. */
#define THREAD_PATIENCE_NS (40 * CLOCK_NS_PER_S)

/* The next operation to execute; NULL: the thread must end. Call with the lock held. The lock is
 * released while there is nothing to do. */
static const struct cmap_operation *take_operation(struct cmap_thread *self)
{
    struct cmap_session *session = self->session;
    for (;;) {
        if (session->is_ending)
            return NULL;
        if (self->error.type)
            self->taken = self->posted; /* after an error it does nothing more */
        if (self->taken < self->posted)
            return self->queue[self->taken++];
        if (self->is_closed)
            return NULL;
        CHECK_PTHREAD(pthread_cond_wait(&session->changed, &session->lock));
    }
}

static void *thread_main(void *argument)
{
    struct cmap_thread *self = argument;
    struct cmap_session *session = self->session;
    const struct cmap_operation *operation;
    CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
    while ((operation = take_operation(self))) {
        struct cmap_error error = {0};
        self->doing = operation->name;
        CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
        cmap_operation_execute(session, operation, &error);
        CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
        self->doing = NULL;
        if (error.type)
            self->error = error;
    }
    self->has_ended = true;
    CHECK_PTHREAD(pthread_cond_broadcast(&session->changed));
    CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
    return NULL;
}

/* Lock held. */
static struct cmap_thread *find(const struct cmap_session *session, const char *name)
{
    for (struct cmap_thread *thread = session->threads; thread; thread = thread->next)
        if (strcmp(thread->name, name) == 0)
            return thread;
    return NULL;
}

void cmap_thread_start(struct cmap_session *session, const char *name)
{
    struct cmap_thread *thread = calloc(1, sizeof *thread);
    assert(thread);
    thread->session = session;
    thread->name = name;
    thread->queue =
        calloc(session->scenario->operation_count, sizeof(const struct cmap_operation *));
    assert(thread->queue);
    CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
    bool is_new = !find(session, name);
    if (is_new && pthread_create(&thread->thread, NULL, thread_main, thread) == 0) {
        thread->next = session->threads;
        session->threads = thread;
    } else {
        cmap_why_set(&session->why, "start: %s %s", name,
                     is_new ? "cannot be started" : "has been started before");
        free(thread->queue);
        free(thread);
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
}

void cmap_thread_post(struct cmap_session *session, const struct cmap_operation *operation)
{
    CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
    struct cmap_thread *thread = find(session, operation->thread);
    if (thread && !thread->is_closed) {
        thread->queue[thread->posted++] = operation;
        CHECK_PTHREAD(pthread_cond_broadcast(&session->changed));
    } else {
        cmap_why_set(&session->why, "%s: %s %s", operation->name, operation->thread,
                     thread ? "has ended" : "was not started");
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
}

/* Call with the lock held. The lock is released during the wait. */
static void await_end(struct cmap_thread *thread)
{
    struct cmap_session *session = thread->session;
    struct timespec until = clock_timespec(clock_now_ns() + THREAD_PATIENCE_NS);
    int result = 0;
    thread->is_closed = true;
    CHECK_PTHREAD(pthread_cond_broadcast(&session->changed));
    while (!thread->has_ended && !session->is_ending && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&session->changed, &session->lock, &until);
}

void cmap_thread_wait(struct cmap_session *session, const char *name, struct cmap_error *error)
{
    CHECK_PTHREAD(pthread_mutex_lock(&session->lock));
    struct cmap_thread *thread = find(session, name);
    if (!thread || thread->is_closed) {
        cmap_why_set(&session->why, "waitForThread: %s %s", name,
                     thread ? "has been waited for before" : "was not started");
    } else {
        await_end(thread);
        if (!thread->has_ended)
            cmap_why_set(&session->why, "waitForThread: %s is still at %s", name,
                         thread->doing ? thread->doing : "nothing");
        else if (thread->error.type)
            *error = thread->error;
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&session->lock));
}

void cmap_threads_end(struct cmap_session *session)
{
    for (struct cmap_thread *thread = session->threads; thread; thread = session->threads) {
        CHECK_PTHREAD(pthread_join(thread->thread, NULL));
        session->threads = thread->next;
        free(thread->queue);
        free(thread);
    }
}
