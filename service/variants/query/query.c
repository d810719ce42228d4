#include "service/variants/query/query.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdatomic.h>

/* Whether the checkouts were called off; *failure is CALLED_OFF then. */
static bool is_called_off(const struct db_checkout_group *group, struct failure *failure)
{
    if (!group || !atomic_load(&group->called_off))
        return false;
    (void)failure_set(failure, FAILURE_CALLED_OFF, "called off");
    return true;
}

bool query_has_time(const struct query_request *request, struct failure *failure)
{
    return clock_now_ns() < request->wait_ns ||
           failure_set(failure, FAILURE_REQUEST_DEADLINE, "request deadline exceeded");
}

bool query_checkout(const struct query_request *request, const char *call_site, const char *query,
                    const struct db_checkout_group *group, struct db_slot **slot,
                    struct failure *failure)
{
    struct db_pool *pool = request->environment->pool;
    const struct db_checkout checkout = {.deadline_ns = request->wait_ns,
                                         .admit = request->variants.admission->admit,
                                         .call_site = call_site,
                                         .query = query,
                                         .group = group};
    *slot = NULL;
    if (is_called_off(group, failure))
        return false;
    if (!db_pool_checkout(pool, &checkout, slot, failure))
        return false;
    if (is_called_off(group, failure)) {
        db_pool_checkin(pool, slot); /* too late to leave the queue, and not used: as it was */
        return false;
    }
    return true;
}

struct db_conn *query_connect(const struct query_request *request,
                              const struct db_checkout_group *group, struct failure *failure)
{
    const struct query_environment *environment = request->environment;
    struct db_conn_config database = *environment->database;
    database.statements = &environment->queries.video; /* the others are of no use to it */
    database.statement_count = 1;
    return is_called_off(group, failure) ? NULL
                                         : db_conn_open(&database, request->wait_ns, -1, failure);
}

bool query_list(const struct query_request *request, struct db_conn *conn, struct id_list *list,
                struct failure *failure)
{
    return queries_feed_list(&request->environment->queries, conn, request->feed_id, request->items,
                             request->wait_ns, list, failure);
}

bool query_video(const struct query_request *request, struct db_conn *conn, int64_t video_id,
                 struct video *video, struct failure *failure)
{
    return queries_video(&request->environment->queries, conn, video_id, request->wait_ns, video,
                         failure);
}

void query_checkin(const struct query_request *request, struct db_slot **slot, bool ok,
                   const struct failure *failure)
{
    assert(*slot);
    bool query_succeeded =
        ok || failure->kind == FAILURE_NOT_FOUND; /* "no such feed" is an answer */
    request->variants.release->give_back(request->environment->pool, slot, query_succeeded);
    assert(!*slot);
}

bool query_put(const struct query_request *request, struct result_map *map, unsigned index,
               const struct video *video, struct failure *failure)
{
    assert(index < request->items);
    return request->variants.map->put(map, index, video) ||
           failure_set(failure, FAILURE_LIMIT, "out of memory");
}

void query_count_failure(const struct query_request *request, const struct failure *failure)
{
    assert(failure->kind > FAILURE_NONE && failure->kind < FAILURE_KINDS);
    atomic_fetch_add(&request->environment->item_failures[failure->kind], 1);
}
