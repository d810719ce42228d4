#include "service/variants/query.h"

#include <stdatomic.h>

bool query_with_connection(const struct query_request *request, const char *call_site,
                           const char *query,
                           bool (*use)(struct db_conn *conn, void *context,
                                       struct failure *failure),
                           void *context, struct failure *failure)
{
    struct db_pool *pool = request->environment->pool;
    struct db_checkout checkout = {.deadline_ns = request->deadline_ns,
                                   .admit = request->variants.admission->admit,
                                   .call_site = call_site,
                                   .query = query};
    struct db_lease *lease;
    bool ok = db_pool_checkout(pool, &checkout, &lease, failure);
    if (ok) {
        ok = use(db_lease_connection(lease), context, failure);
        bool query_succeeded =
            ok || failure->kind == FAILURE_NOT_FOUND; /* "no such feed" is an answer */
        request->variants.release->give_back(pool, &lease, query_succeeded);
    }
    if (!ok)
        atomic_fetch_add(&request->environment->item_failures[failure->kind], 1);
    return ok;
}
