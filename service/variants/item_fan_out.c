#include "service/variants/item_fan_out.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdatomic.h>

/* How much longer than the deadline, or than the first failure, the handler waits for its threads,
 * so that they can say what it met them at. */
#define GRACE_NS (50 * CLOCK_NS_PER_MS)

/* One item, on its thread's stack. */
struct item {
    struct item_fan_out *items;
    unsigned index;
};

struct item_fan_out *item_fan_out_open(const struct query_request *request,
                                       struct query_outcome *outcome)
{
    struct item_fan_out *items = calloc(1, sizeof *items);
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
    CHECK_PTHREAD(pthread_mutex_init(&items->lock, NULL));
    return items;
}

static void free_items(void *context)
{
    struct item_fan_out *items = context;
    items->request.variants.map->destroy(items->map);
    CHECK_PTHREAD(pthread_mutex_destroy(&items->lock));
    free(items->list.ids);
    free(items);
}

bool item_fan_out_fail(struct item_fan_out *items)
{
    if (items)
        free_items(items);
    return false;
}

bool item_fan_out_list(struct item_fan_out *items, const char *call_site,
                       bool (*use)(struct db_conn *conn, void *context, struct failure *failure))
{
    const struct query_step step = {
        .call_site = call_site, .query = "feed_list", .use = use, .context = items};
    struct query_outcome *outcome = items->outcome;
    const struct query_request request = items->request; /* `use` may let go of the items */
    bool ok = query_with_connection(&request, &step, &outcome->failure);
    if (!ok)
        outcome->failed_items[outcome->failure.kind]++;
    return ok;
}

bool item_fan_out_read_list(struct db_conn *conn, void *context, struct failure *failure)
{
    struct item_fan_out *items = context;
    const struct query_request *request = &items->request;
    return queries_feed_list(&request->environment->queries, conn, request->feed_id, request->items,
                             request->wait_ns, &items->list, failure);
}

static bool fetch_item(struct db_conn *conn, void *context, struct failure *failure)
{
    const struct item *item = context;
    const struct item_fan_out *items = item->items;
    const struct query_request *request = &items->request;
    struct video video;
    if (!queries_video(&request->environment->queries, conn, items->list.ids[item->index],
                       request->wait_ns, &video, failure))
        return false;
    return request->variants.map->put(items->map, item->index, &video) ||
           failure_set(failure, FAILURE_LIMIT, "out of memory");
}

static void report_failure(struct item_fan_out *items, const struct failure *failure)
{
    const struct query_request *request = &items->request;
    int64_t now_ns = clock_now_ns();
    CHECK_PTHREAD(pthread_mutex_lock(&items->lock));
    bool is_first = items->first_failure.kind == FAILURE_NONE;
    if (is_first)
        items->first_failure = *failure;
    items->failed_items[failure->kind]++;
    struct fan_out *fan_out = items->fan_out;
    CHECK_PTHREAD(pthread_mutex_unlock(&items->lock));
    if (!is_first)
        return;
    if (fan_out)
        fan_out_hurry(fan_out, now_ns + GRACE_NS);
    /* The deadline is all items' own: it ends each of them without our help, and each then says
     * what it met it at. */
    if (now_ns < request->wait_ns)
        request->variants.cancel->item_failed(request->environment->pool, &items->group);
}

void item_fan_out_fetch(struct item_fan_out *items, unsigned index, item_fan_out_connect *connect,
                        const char *call_site)
{
    struct item item = {.items = items, .index = index};
    const struct query_step step = {.call_site = call_site,
                                    .query = "video",
                                    .use = fetch_item,
                                    .context = &item,
                                    .group = &items->group};
    struct failure failure = {.kind = FAILURE_CALLED_OFF};
    bool ok = atomic_load(&items->group.called_off) ? query_failed(&items->request, &failure)
                                                    : connect(&items->request, &step, &failure);
    if (!ok)
        report_failure(items, &failure);
}

/* What the threads left behind, read under their lock: some may still be at work. */
static bool collect(struct item_fan_out *items, bool all_done)
{
    struct query_outcome *outcome = items->outcome;
    CHECK_PTHREAD(pthread_mutex_lock(&items->lock));
    memcpy(outcome->failed_items, items->failed_items, sizeof outcome->failed_items);
    if (outcome->failure.kind == FAILURE_NONE)
        outcome->failure = items->first_failure;
    CHECK_PTHREAD(pthread_mutex_unlock(&items->lock));
    if (outcome->failure.kind != FAILURE_NONE)
        return false;
    if (!all_done)
        return failure_set(&outcome->failure, FAILURE_REQUEST_DEADLINE,
                           "request deadline exceeded");
    /* A partial answer is an error: no thread has failed, but a write may be lost. */
    if (!items->request.variants.map->holds(items->map, items->list.ids, items->list.count))
        return failure_set(&outcome->failure, FAILURE_INCOMPLETE,
                           "incomplete answer: not all of the %u items are there",
                           items->list.count);
    outcome->map = items->map;
    items->map = NULL;
    return true;
}

/* From now on a failure is told to whoever waits. One that came before shortens the wait as well.
 */
static void let_hurry(struct item_fan_out *items, struct fan_out *fan_out)
{
    CHECK_PTHREAD(pthread_mutex_lock(&items->lock));
    items->fan_out = fan_out;
    bool has_failed = items->first_failure.kind != FAILURE_NONE;
    CHECK_PTHREAD(pthread_mutex_unlock(&items->lock));
    if (has_failed)
        fan_out_hurry(fan_out, clock_now_ns() + GRACE_NS);
}

bool item_fan_out_run(struct item_fan_out *items, unsigned threads, fan_out_task *task)
{
    const struct query_request *request = &items->request;
    struct query_outcome *outcome = items->outcome;
    const struct fan_out_job job = {.count = threads,
                                    .task = task,
                                    .shared = items,
                                    .free_shared = free_items,
                                    .request_id = request->request_id,
                                    .deadline_ns = request->deadline_ns};
    struct fan_out *fan_out =
        fan_out_start(&request->environment->fan_out, &job, &outcome->failure);
    if (!fan_out)
        return false;
    bool all_done = false;
    if (outcome->failure.kind == FAILURE_NONE) {
        let_hurry(items, fan_out);
        all_done = fan_out_wait(fan_out, request->deadline_ns + GRACE_NS);
    } else {
        /* Not all threads could be started, so the answer is known: the others are siblings of one
         * that failed. */
        request->variants.cancel->item_failed(request->environment->pool, &items->group);
    }
    bool ok = collect(items, all_done);
    fan_out_release(&fan_out);
    return ok;
}
