#include "service/variants/query/item_fan_out.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdatomic.h>

/* How much longer than the deadline, or than the first failure, the handler waits for its threads,
 * so that their failures are reported. */
#define GRACE_NS (50 * CLOCK_NS_PER_MS)

static void free_items(void *shared)
{
    struct item_fan_out *items = shared;
    items->request.variants.map->destroy(items->map);
    CHECK_PTHREAD(pthread_mutex_destroy(&items->lock));
    free(items->list.ids);
    free(items);
}

static bool make_fan_out(struct item_fan_out *items, struct failure *failure)
{
    const struct query_request *request = &items->request;
    const struct fan_out_job job = {.max_tasks = request->items,
                                    .shared = items,
                                    .free_shared = free_items,
                                    .request_id = request->request_id,
                                    .deadline_ns = request->deadline_ns};
    CHECK_PTHREAD(pthread_mutex_init(&items->lock, NULL));
    struct fan_out *fan_out = fan_out_open(&request->environment->threads, &job, failure);
    if (!fan_out)
        return false; /* and the items are freed */
    items->fan_out = fan_out;
    return true;
}

struct item_fan_out *item_fan_out_open(const struct query_request *request,
                                       struct query_outcome *outcome)
{
    struct item_fan_out *items = calloc(1, sizeof *items);
    assert(request->items > 0 && request->items <= QUERIES_MAX_ITEMS);
    *outcome = (struct query_outcome){0};
    if (items)
        items->map = request->variants.map->create(request->variants.fatal, request->items);
    if (!items || !items->map) {
        failure_set(&outcome->failure, FAILURE_LIMIT, "out of memory");
        outcome->failed_items[FAILURE_LIMIT]++;
        free(items);
        return NULL;
    }
    items->request = *request;
    items->outcome = outcome;
    return make_fan_out(items, &outcome->failure) ? items : NULL;
}

bool item_fan_out_abandon(struct item_fan_out *items)
{
    if (!items)
        return false;
    struct query_outcome *outcome = items->outcome;
    query_count_failure(&items->request, &outcome->failure);
    outcome->failed_items[outcome->failure.kind]++;
    struct fan_out *fan_out = items->fan_out;
    fan_out_release(&fan_out);
    return false;
}

bool item_fan_out_take(struct item_fan_out *items, unsigned threads)
{
    assert(items->outcome->failure.kind == FAILURE_NONE);
    return fan_out_take(items->fan_out, threads, &items->outcome->failure);
}

bool item_fan_out_start(struct item_fan_out *items, fan_out_task *task, unsigned index)
{
    return fan_out_start(items->fan_out, task, index);
}

void item_fan_out_item_failed(struct item_fan_out *items, const struct failure *failure)
{
    const struct query_request *request = &items->request;
    query_count_failure(request, failure);
    int64_t now_ns = clock_now_ns();
    CHECK_PTHREAD(pthread_mutex_lock(&items->lock));
    bool is_first = items->first_failure.kind == FAILURE_NONE;
    if (is_first)
        items->first_failure = *failure;
    items->failed_items[failure->kind]++;
    bool is_waited_for = items->is_waited_for;
    CHECK_PTHREAD(pthread_mutex_unlock(&items->lock));
    if (!is_first)
        return;
    if (is_waited_for)
        fan_out_hurry(items->fan_out, now_ns + GRACE_NS);
    /* The deadline is all items' own: it ends each of them without our help, and each then reports
     * what it was doing. */
    if (now_ns < request->wait_ns)
        request->variants.cancel->item_failed(request->environment->pool, &items->group);
}

void item_fan_out_wait(struct item_fan_out *items)
{
    const struct query_request *request = &items->request;
    if (items->outcome->failure.kind != FAILURE_NONE)
        return; /* none was started */
    CHECK_PTHREAD(pthread_mutex_lock(&items->lock));
    items->is_waited_for = true;
    bool has_failed = items->first_failure.kind != FAILURE_NONE;
    CHECK_PTHREAD(pthread_mutex_unlock(&items->lock));
    if (has_failed)
        fan_out_hurry(items->fan_out, clock_now_ns() + GRACE_NS);
    items->all_done = fan_out_wait(items->fan_out, request->deadline_ns + GRACE_NS);
}

/* What the threads left behind, read under their lock: some may still be at work. */
static bool collect(struct item_fan_out *items)
{
    struct query_outcome *outcome = items->outcome;
    CHECK_PTHREAD(pthread_mutex_lock(&items->lock));
    memcpy(outcome->failed_items, items->failed_items, sizeof outcome->failed_items);
    if (outcome->failure.kind == FAILURE_NONE)
        outcome->failure = items->first_failure;
    CHECK_PTHREAD(pthread_mutex_unlock(&items->lock));
    if (outcome->failure.kind != FAILURE_NONE)
        return false;
    if (!items->all_done)
        return failure_set(&outcome->failure, FAILURE_REQUEST_DEADLINE,
                           "request deadline exceeded");
    /* A partial answer is an error: no thread has failed, but a write may be lost. */
    if (!items->request.variants.map->holds(items->map, items->list.ids, items->list.count))
        return failure_set(&outcome->failure, FAILURE_INCOMPLETE,
                           "incomplete answer: not all of the %u items are there",
                           items->list.count);
    assert(!outcome->map && items->map);
    outcome->map = items->map;
    items->map = NULL;
    return true;
}

bool item_fan_out_collect(struct item_fan_out *items)
{
    struct fan_out *fan_out = items->fan_out;
    bool ok = collect(items);
    fan_out_release(&fan_out);
    return ok;
}
