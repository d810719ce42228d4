/*
 * The events of a pool, in order, since it was made. Filled from the pool's callback, under the
 * pool's lock: the recorder's own lock is the innermost, and held for moments only.
 */
#ifndef FLASHOVER_TESTS_CMAP_RECORDER_H
#define FLASHOVER_TESTS_CMAP_RECORDER_H

#include "service/pool/event.h"

#include <pthread.h>
#include <stddef.h>

enum { CMAP_MAX_EVENTS = 4096 };

/* Lock key: (m) under `lock`. */
struct cmap_recorder {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool has_ended;                               /* (m) waits end at once */
    size_t count;                                 /* (m) */
    unsigned seen[DB_POOL_EVENT_TYPES];           /* (m) */
    struct db_pool_event events[CMAP_MAX_EVENTS]; /* (m) */
};

/* In place, for a recorder that will not move. */
void cmap_recorder_init(struct cmap_recorder *recorder);
void cmap_recorder_destroy(struct cmap_recorder *recorder);

/* The pool's on_event; the context is the recorder. */
void cmap_recorder_on_event(void *recorder, const struct db_pool_event *event);

/* Waits until there have been `count` events of the type, or the deadline or the end comes. Returns
 * how many there have been. */
unsigned cmap_recorder_wait(struct cmap_recorder *recorder, enum db_pool_event_type type,
                            unsigned count, int64_t deadline_ns);

/* Ends all waits, those to come too. */
void cmap_recorder_end(struct cmap_recorder *recorder);

/* Why the last checkout of this thread failed; REASON_NONE: none did. */
enum db_pool_reason cmap_recorder_last_failure(struct cmap_recorder *recorder, long tid);

/* Copies all events so far into a new array, to be freed by the caller; *count is how many. */
struct db_pool_event *cmap_recorder_copy(struct cmap_recorder *recorder, size_t *count)
    __attribute__((warn_unused_result));

#endif
