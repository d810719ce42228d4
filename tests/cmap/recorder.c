#include "tests/cmap/recorder.h"

#include "common/check.h"
#include "common/clock.h"

#include <errno.h>

void cmap_recorder_init(struct cmap_recorder *recorder)
{
    *recorder = (struct cmap_recorder){0};
    CHECK_PTHREAD(pthread_mutex_init(&recorder->lock, NULL));
    clock_cond_init(&recorder->changed);
}

void cmap_recorder_destroy(struct cmap_recorder *recorder)
{
    CHECK_PTHREAD(pthread_cond_destroy(&recorder->changed));
    CHECK_PTHREAD(pthread_mutex_destroy(&recorder->lock));
}

void cmap_recorder_on_event(void *context, const struct db_pool_event *event)
{
    struct cmap_recorder *recorder = context;
    CHECK_PTHREAD(pthread_mutex_lock(&recorder->lock));
    assert(recorder->count < CMAP_MAX_EVENTS); /* no file makes so many; the pool must be looping */
    recorder->events[recorder->count++] = *event;
    recorder->seen[event->type]++;
    CHECK_PTHREAD(pthread_cond_broadcast(&recorder->changed));
    CHECK_PTHREAD(pthread_mutex_unlock(&recorder->lock));
}

unsigned cmap_recorder_wait(struct cmap_recorder *recorder, enum db_pool_event_type type,
                            unsigned count, int64_t deadline_ns)
{
    struct timespec until = clock_timespec(deadline_ns);
    int result = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&recorder->lock));
    while (recorder->seen[type] < count && !recorder->has_ended && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&recorder->changed, &recorder->lock, &until);
    unsigned seen = recorder->seen[type];
    CHECK_PTHREAD(pthread_mutex_unlock(&recorder->lock));
    return seen;
}

void cmap_recorder_end(struct cmap_recorder *recorder)
{
    CHECK_PTHREAD(pthread_mutex_lock(&recorder->lock));
    recorder->has_ended = true;
    CHECK_PTHREAD(pthread_cond_broadcast(&recorder->changed));
    CHECK_PTHREAD(pthread_mutex_unlock(&recorder->lock));
}

enum db_pool_reason cmap_recorder_last_failure(struct cmap_recorder *recorder, long tid)
{
    enum db_pool_reason reason = REASON_NONE;
    CHECK_PTHREAD(pthread_mutex_lock(&recorder->lock));
    for (size_t i = 0; i < recorder->count; i++)
        if (recorder->events[i].type == CHECK_OUT_FAILED && recorder->events[i].tid == tid)
            reason = recorder->events[i].reason;
    CHECK_PTHREAD(pthread_mutex_unlock(&recorder->lock));
    return reason;
}

struct db_pool_event *cmap_recorder_copy(struct cmap_recorder *recorder, size_t *count)
{
    struct db_pool_event *copy = calloc(CMAP_MAX_EVENTS, sizeof *copy);
    assert(copy);
    CHECK_PTHREAD(pthread_mutex_lock(&recorder->lock));
    *count = recorder->count;
    memcpy(copy, recorder->events, recorder->count * sizeof *copy);
    CHECK_PTHREAD(pthread_mutex_unlock(&recorder->lock));
    return copy;
}
