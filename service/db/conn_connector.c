/* A connection as the pool sees it. */
#include "service/db/conn_private.h"

#include "common/check.h"

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

/* One that prepares statements is of no more use once they are given up. Whoever has it checked out
 * may finish with it. */
static enum db_conn_state seen_by_the_pool(const struct db_conn *conn)
{
    bool is_outdated =
        !conn->unprepared && conn->preparing && atomic_load(&conn->preparing->is_given_up);
    return conn->state == DB_CONN_IDLE && is_outdated ? DB_CONN_OUTDATED : conn->state;
}

static enum db_conn_state connector_state(void *connection)
{
    return seen_by_the_pool(connection);
}

static enum db_conn_state connector_consume(void *connection)
{
    (void)db_conn_consume(connection);
    return seen_by_the_pool(connection);
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
    assert(conn->state == DB_CONN_IN_TRANSACTION);
    conn->state =
        PQsendQuery(conn->pg, "ROLLBACK") && PQflush(conn->pg) >= 0 ? DB_CONN_BUSY : DB_CONN_BROKEN;
}

static void *connector_cancel_prepare(void *connection)
{
    const struct db_conn *conn = connection;
    return PQgetCancel(conn->pg);
}

/* PQcancel() opens a connection for the cancel, and returns when the server has closed it. By then
 * the server has signalled the backend. The backend handles the signal before it reads its next
 * command, and ignores it when it has nothing to cancel. So no later query is hit. (A pooler in
 * between may pass a cancel on after it has closed that connection.) */
static bool connector_cancel_send(void *cancel)
{
    char error[256];
    assert(cancel);
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
    /* only db_conn_open() reads the context, through a const parameter */
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
