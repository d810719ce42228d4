/*
 * What waits for its time, the earliest first: exchanges for their next attempt, the stall server's
 * connections for their answer. A binary heap of bounded size, allocated once. Used by one thread.
 */
#ifndef FLASHOVER_LOADTEST_ENGINE_RETRY_QUEUE_H
#define FLASHOVER_LOADTEST_ENGINE_RETRY_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct retry_entry {
    int64_t at_ns; /* monotonic */
    void *item;
};

struct retry_queue {
    struct retry_entry *heap;
    size_t count;
    size_t capacity;
};

/* Room for `capacity` entries; 0 is fine. False without memory. */
bool retry_queue_init(struct retry_queue *queue, size_t capacity)
    __attribute__((warn_unused_result));
void retry_queue_destroy(struct retry_queue *queue);

/* There must be room. */
void retry_queue_push(struct retry_queue *queue, int64_t at_ns, void *item);

/* When the earliest is due; CLOCK_NEVER when there is none. */
int64_t retry_queue_next_ns(const struct retry_queue *queue);

/* Takes the earliest out; NULL when none is due at now_ns. */
void *retry_queue_pop_due(struct retry_queue *queue, int64_t now_ns);

#endif
