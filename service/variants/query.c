#include "service/variants/query.h"

#include <stdatomic.h>

bool query_failed(const struct query_request *request, const struct failure *failure)
{
    atomic_fetch_add(&request->environment->item_failures[failure->kind], 1);
    return false;
}

bool query_with_connection(const struct query_request *request, const struct query_step *step,
                           struct failure *failure)
{
    struct db_pool *pool = request->environment->pool;
    struct db_checkout checkout = {.deadline_ns = request->wait_ns,
                                   .admit = request->variants.admission->admit,
                                   .call_site = step->call_site,
                                   .query = step->query,
                                   .group = step->group};
    struct db_lease *lease;
    bool ok = db_pool_checkout(pool, &checkout, &lease, failure);
    if (ok && step->group && atomic_load(&step->group->called_off)) {
        db_pool_checkin(pool, &lease); /* too late to leave the queue, and not used: as it was */
        ok = failure_set(failure, FAILURE_CALLED_OFF, "called off");
    } else if (ok) {
        ok = step->use(db_lease_connection(lease), step->context, failure);
        bool query_succeeded =
            ok || failure->kind == FAILURE_NOT_FOUND; /* "no such feed" is an answer */
        request->variants.release->give_back(pool, &lease, query_succeeded);
    }
    return ok || query_failed(request, failure);
}
