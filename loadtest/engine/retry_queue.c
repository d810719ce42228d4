#include "loadtest/engine/retry_queue.h"

#include "common/check.h"
#include "common/clock.h"

bool retry_queue_init(struct retry_queue *queue, size_t capacity)
{
    *queue = (struct retry_queue){.capacity = capacity};
    if (capacity > 0)
        queue->heap = malloc(capacity * sizeof queue->heap[0]);
    return capacity == 0 || queue->heap;
}

void retry_queue_destroy(struct retry_queue *queue)
{
    free(queue->heap);
    queue->heap = NULL;
}

static void swap(struct retry_entry *a, struct retry_entry *b)
{
    struct retry_entry kept = *a;
    *a = *b;
    *b = kept;
}

void retry_queue_push(struct retry_queue *queue, int64_t at_ns, void *item)
{
    assert(queue->count < queue->capacity);
    struct retry_entry *heap = queue->heap;
    size_t at = queue->count++;
    heap[at] = (struct retry_entry){at_ns, item};
    for (; at > 0 && heap[at].at_ns < heap[(at - 1) / 2].at_ns; at = (at - 1) / 2)
        swap(&heap[at], &heap[(at - 1) / 2]);
}

int64_t retry_queue_next_ns(const struct retry_queue *queue)
{
    return queue->count > 0 ? queue->heap[0].at_ns : CLOCK_NEVER;
}

void *retry_queue_pop_due(struct retry_queue *queue, int64_t now_ns)
{
    struct retry_entry *heap = queue->heap;
    if (queue->count == 0 || heap[0].at_ns > now_ns)
        return NULL;
    void *earliest = heap[0].item;
    int64_t at_ns = heap[0].at_ns;
    heap[0] = heap[--queue->count];
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < queue->count && heap[child].at_ns < heap[least].at_ns)
                least = child;
        if (least == at) {
            assert(queue->count == 0 || heap[0].at_ns >= at_ns);
            return earliest;
        }
        swap(&heap[at], &heap[least]);
        at = least;
    }
}
