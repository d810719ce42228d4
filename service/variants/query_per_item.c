/*
 * query=per_item: one query for the feed's list, then one thread, one checkout and one query per
 * item. BUG, mended in query_batched.c.
 */
#include "common/check.h"
#include "common/clock.h"
#include "service/variants/query.h"

/* How much longer than the deadline the handler waits for its threads, so that they can say what
 * the deadline met them at. */
#define GRACE_NS (50 * CLOCK_NS_PER_MS)

/* Shared by the request's thread and its items' threads; freed with the fan-out's last reference.
 * Lock key: (i) immutable once threads run, (m) under `lock`, (v) as the map's variant has it. */
struct shared {
    struct query_request request; /* (i) */
    struct id_list list;          /* (i) */
    struct result_map *map; /* (v); NULL once it was handed to the handler, when all are done */
    pthread_mutex_t lock;
    struct failure first_failure;         /* (m) the earliest item's */
    unsigned failed_items[FAILURE_KINDS]; /* (m) */
    bool stop;                            /* (m) no further item need begin */
};

/* One item's thread. */
struct item {
    struct shared *shared;
    unsigned index;
};

static bool fetch_list(struct db_conn *conn, void *context, struct failure *failure)
{
    struct shared *shared = context;
    const struct query_request *request = &shared->request;
    return queries_feed_list(&request->environment->queries, conn, request->feed_id, request->items,
                             request->deadline_ns, &shared->list, failure);
}

/* The put comes before the check-in, so that a thread that dies in the map dies holding a
 * connection. */
static bool fetch_item(struct db_conn *conn, void *context, struct failure *failure)
{
    const struct item *item = context;
    const struct shared *shared = item->shared;
    const struct query_request *request = &shared->request;
    struct video video;
    if (!queries_video(&request->environment->queries, conn, shared->list.ids[item->index],
                       request->deadline_ns, &video, failure))
        return false;
    return request->variants.map->put(shared->map, item->index, &video) ||
           failure_set(failure, FAILURE_LIMIT, "out of memory");
}

static bool stopped(struct shared *shared)
{
    CHECK_PTHREAD(pthread_mutex_lock(&shared->lock));
    bool stop = shared->stop;
    CHECK_PTHREAD(pthread_mutex_unlock(&shared->lock));
    return stop;
}

static void report_failure(struct shared *shared, const struct failure *failure)
{
    CHECK_PTHREAD(pthread_mutex_lock(&shared->lock));
    if (shared->first_failure.kind == FAILURE_NONE)
        shared->first_failure = *failure;
    shared->failed_items[failure->kind]++;
    CHECK_PTHREAD(pthread_mutex_unlock(&shared->lock));
}

/* FLAW: three hundred of these run at once, and each wants a connection of its own. */
static void item_task(void *context, unsigned index)
{
    struct item item = {.shared = context, .index = index};
    struct failure failure = {0};
    if (stopped(item.shared))
        return;
    if (!query_with_connection(&item.shared->request, "query_per_item.c:fetch_item", "video",
                               fetch_item, &item, &failure))
        report_failure(item.shared, &failure);
}

static void free_shared(void *context)
{
    struct shared *shared = context;
    shared->request.variants.map->destroy(shared->map);
    CHECK_PTHREAD(pthread_mutex_destroy(&shared->lock));
    free(shared->list.ids);
    free(shared);
}

/* What the threads left behind, read under their lock: some may still be at work. */
static bool collect(struct shared *shared, bool all_done, struct query_outcome *outcome)
{
    CHECK_PTHREAD(pthread_mutex_lock(&shared->lock));
    shared->stop = true;
    memcpy(outcome->failed_items, shared->failed_items, sizeof outcome->failed_items);
    if (outcome->failure.kind == FAILURE_NONE)
        outcome->failure = shared->first_failure;
    CHECK_PTHREAD(pthread_mutex_unlock(&shared->lock));
    if (outcome->failure.kind != FAILURE_NONE)
        return false;
    if (!all_done)
        return failure_set(&outcome->failure, FAILURE_REQUEST_DEADLINE,
                           "request deadline exceeded");
    /* A partial answer is an error: no thread has failed, but a write may be lost. */
    if (!shared->request.variants.map->holds(shared->map, shared->list.ids, shared->list.count))
        return failure_set(&outcome->failure, FAILURE_INCOMPLETE,
                           "incomplete answer: not all of the %u items are there",
                           shared->list.count);
    outcome->map = shared->map;
    shared->map = NULL;
    return true;
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    *outcome = (struct query_outcome){0};
    struct shared *shared = calloc(1, sizeof *shared);
    if (!shared)
        return failure_set(&outcome->failure, FAILURE_LIMIT, "out of memory");
    shared->request = *request;
    CHECK_PTHREAD(pthread_mutex_init(&shared->lock, NULL));
    shared->map = request->variants.map->create(request->variants.fatal, request->items);
    if (!shared->map || !query_with_connection(request, "query_per_item.c:fetch_list", "feed_list",
                                               fetch_list, shared, &outcome->failure)) {
        if (!shared->map)
            failure_set(&outcome->failure, FAILURE_LIMIT, "out of memory");
        outcome->failed_items[outcome->failure.kind]++;
        free_shared(shared);
        return false;
    }
    const struct fan_out_job job = {.count = request->items,
                                    .task = item_task,
                                    .shared = shared,
                                    .free_shared = free_shared,
                                    .request_id = request->request_id,
                                    .deadline_ns = request->deadline_ns};
    struct fan_out *fan_out =
        fan_out_start(&request->environment->fan_out, &job, &outcome->failure);
    if (!fan_out)
        return false;
    /* Where not all threads could be started, the answer is known: the others find `stop` set, or
     * end by themselves. */
    bool all_done = outcome->failure.kind == FAILURE_NONE &&
                    fan_out_wait(fan_out, request->deadline_ns + GRACE_NS);
    bool ok = collect(shared, all_done, outcome);
    fan_out_release(&fan_out);
    return ok;
}

const struct query_ops query_per_item = {"per_item", run};
