/* Many executions of one statement in one round trip: libpq's pipeline mode. */
#include "service/db/conn_private.h"

#include "common/check.h"
#include "service/base/thread_state.h"

/* Queues all executions and the sync. */
static bool queue_all(struct db_conn *conn, const struct db_pipeline *pipeline)
{
    struct db_value parameters[DB_CONN_MAX_PARAMETERS];
    bool ok = PQenterPipelineMode(conn->pg) == 1;
    for (unsigned i = 0; ok && i < pipeline->count; i++) {
        pipeline->write_parameters(pipeline->context, i, parameters);
        ok = db_conn_send(conn, pipeline->statement, parameters);
    }
    return ok && PQpipelineSync(conn->pg);
}

/* Takes one result of the execution with this index. After the first failure the rest is read and
 * dropped. */
static void take(struct db_conn *conn, const struct db_pipeline *pipeline, unsigned index,
                 const PGresult *result, struct failure *failure)
{
    ExecStatusType status = PQresultStatus(result);
    if (failure->kind != FAILURE_NONE || status == PGRES_PIPELINE_SYNC)
        return;
    if (status == PGRES_TUPLES_OK && index < pipeline->count)
        (void)pipeline->take(pipeline->context, index, result, failure);
    else
        (void)db_conn_refused(conn, result, failure);
}

/* Reads up to the sync. */
static bool read_all(struct db_conn *conn, const struct db_pipeline *pipeline, int64_t deadline_ns,
                     struct failure *failure)
{
    struct failure first = {0};
    unsigned index = 0;
    bool is_last = false;
    while (!is_last) {
        PGresult *result;
        if (!db_conn_next_result(conn, deadline_ns, &result, failure)) {
            if (first.kind != FAILURE_NONE)
                *failure = first;
            return false;
        }
        if (result)
            take(conn, pipeline, index, result, &first);
        else
            index++;
        is_last = db_conn_is_last_result(conn, result);
        PQclear(result);
        if (PQstatus(conn->pg) != CONNECTION_OK) {
            if (first.kind == FAILURE_NONE)
                (void)db_conn_broken(conn, &first);
            is_last = true;
        }
    }
    conn->state = db_conn_settled_state(conn);
    if (first.kind == FAILURE_NONE)
        return true;
    *failure = first;
    return false;
}

bool db_conn_pipeline(struct db_conn *conn, const struct db_pipeline *pipeline, int64_t deadline_ns,
                      struct failure *failure)
{
    assert(pipeline->count > 0 && pipeline->write_parameters && pipeline->take);
    if (!db_conn_may_write(conn, deadline_ns, failure))
        return false;
    enum thread_state former = thread_state_set(THREAD_QUERY);
    bool ok = queue_all(conn, pipeline) ? db_conn_flush(conn, deadline_ns, failure) &&
                                              read_all(conn, pipeline, deadline_ns, failure)
                                        : db_conn_broken(conn, failure);
    thread_state_set(former);
    return ok;
}
