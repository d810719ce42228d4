/*
 * query=connect_per_item: as query_per_item.c, but each item makes a connection of its own, and
 * there is no pool. BUG, mended in query_batched.c.
 */
#include "service/variants/item_fan_out.h"

/* FLAW: connecting to the database inside a loop. Each of these costs a process in the server and a
 * login, and nobody counts them: the server does, and refuses what is more than max_connections. */
static bool with_new_connection(const struct query_request *request, const struct query_step *step,
                                struct failure *failure)
{
    const struct query_environment *environment = request->environment;
    struct db_conn_config database = *environment->database;
    database.statements = &environment->queries.video; /* the others are of no use to it */
    database.statement_count = 1;
    struct db_conn *conn = db_conn_open(&database, request->wait_ns, -1, failure);
    bool ok = conn && step->use(conn, step->context, failure);
    db_conn_close(conn);
    return ok || query_failed(request, failure);
}

static void fetch_item(void *context, unsigned index)
{
    item_fan_out_fetch(context, index, with_new_connection, "query_connect_per_item.c:fetch_item");
}

static bool run(const struct query_request *request, struct query_outcome *outcome)
{
    struct item_fan_out *items = item_fan_out_open(request, outcome);
    if (!items || !item_fan_out_list(items, "query_connect_per_item.c:run", item_fan_out_read_list))
        return item_fan_out_fail(items);
    return item_fan_out_run(items, request->items, fetch_item);
}

const struct query_ops query_connect_per_item = {"connect_per_item", run};
