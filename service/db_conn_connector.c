/* A connection as the pool sees it. */
#include "service/db_conn_internal.h"

#include <unistd.h>

static void *connector_connect(void *context, int64_t deadline_ns, int interrupt_fd,
                               struct failure *failure)
{
    return db_conn_open(context, deadline_ns, interrupt_fd, failure);
}

static int connector_close(void *connection)
{
    return db_conn_close_but_copy(connection);
}

static void connector_interrupt(void *connection)
{
    const struct db_conn *conn = connection;
    uint64_t one = 1;
    (void)!write(conn->interrupt_fd, &one, sizeof one);
}

static enum db_conn_state connector_state(void *connection)
{
    const struct db_conn *conn = connection;
    return conn->state;
}

static enum db_conn_state connector_consume(void *connection)
{
    return db_conn_consume(connection);
}

static bool connector_prove(void *connection, int64_t deadline_ns)
{
    struct failure failure;
    PGresult *result;
    bool ok = db_conn_execute(connection, "SELECT", 0, NULL, deadline_ns, &result, &failure);
    PQclear(result);
    return ok;
}

static void connector_rollback(void *connection)
{
    struct db_conn *conn = connection;
    conn->state =
        PQsendQuery(conn->pg, "ROLLBACK") && PQflush(conn->pg) >= 0 ? DB_CONN_BUSY : DB_CONN_BROKEN;
}

static void *connector_cancel_prepare(void *connection)
{
    const struct db_conn *conn = connection;
    return PQgetCancel(conn->pg);
}

/* PQcancel() returns when the server has closed the connection that the cancel came by, and that is
 * after it has signalled the backend. A signalled backend takes that up before it reads its next
 * command, and drops it where it has nothing to cancel. So no later query is hit. (A pooler in
 * between may pass a cancel on later than it says.) */
static bool connector_cancel_send(void *cancel)
{
    char error[256];
    bool taken = PQcancel(cancel, error, sizeof error) == 1;
    PQfreeCancel(cancel);
    return taken;
}

static void connector_cancel_drop(void *cancel)
{
    PQfreeCancel(cancel);
}

static int connector_socket(void *connection)
{
    const struct db_conn *conn = connection;
    return PQsocket(conn->pg);
}

static int connector_backend_pid(void *connection)
{
    const struct db_conn *conn = connection;
    return PQbackendPID(conn->pg);
}

struct db_connector db_conn_connector(const struct db_conn_config *config)
{
    /* the context is only ever read through db_conn_open's const parameter */
    return (struct db_connector){.context = (void *)(uintptr_t)config,
                                 .connect = connector_connect,
                                 .close = connector_close,
                                 .interrupt = connector_interrupt,
                                 .state = connector_state,
                                 .consume = connector_consume,
                                 .prove = connector_prove,
                                 .rollback = connector_rollback,
                                 .cancel_prepare = connector_cancel_prepare,
                                 .cancel_send = connector_cancel_send,
                                 .cancel_drop = connector_cancel_drop,
                                 .socket = connector_socket,
                                 .backend_pid = connector_backend_pid};
}
