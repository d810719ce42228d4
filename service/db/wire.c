/* One connection's traffic, for conn.c and pipeline.c alike: waits, sends and takes in, and keeps
 * the connection's state. */
#include "service/db/conn_private.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

#include <errno.h>
#include <poll.h>

/* A statement that is lost after longer than this is a new case. */
#define LOSS_REMEMBERED_NS (60 * CLOCK_NS_PER_S)

enum db_conn_awaited db_conn_await_socket(const struct db_conn *conn, short events,
                                          int interrupt_fd, int64_t deadline_ns)
{
    assert(conn->pg && events);
    struct pollfd fds[2] = {{.fd = PQsocket(conn->pg), .events = events},
                            {.fd = interrupt_fd, .events = POLLIN}};
    for (;;) {
        int ready = poll(fds, 2, clock_poll_ms(deadline_ns, 60000));
        if (ready > 0 && fds[1].revents)
            return INTERRUPTED;
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return SOCKET_READY; /* libpq finds out itself what is wrong with a socket */
        if (clock_now_ns() >= deadline_ns)
            return DEADLINE_PASSED;
    }
}

bool db_conn_broken(struct db_conn *conn, struct failure *failure)
{
    char detail[160];
    text_one_line(PQerrorMessage(conn->pg), detail, sizeof detail);
    conn->state = DB_CONN_BROKEN;
    return failure_set(failure, FAILURE_DATABASE, "connection(%s) lost: %s", conn->address, detail);
}

/* What an error leaves of the connection: IDLE where it is about the query alone. The SQLSTATEs are
 * those of PostgreSQL's appendix A. */
static enum db_conn_state state_after(const char *sqlstate, const char *function)
{
    /* A statement is missing or another's; the server is read-only since a failover. What was
     * prepared before is of no use on the other connections either. */
    static const char *const general[] = {"26000", "42P05", "25006"};
    for (size_t i = 0; i < sizeof general / sizeof general[0]; i++)
        if (strcmp(sqlstate, general[i]) == 0)
            return DB_CONN_OUTDATED;
    /* "cached plan must not change result type": a table was altered. Other features that are not
     * supported have the same SQLSTATE, so the server's function tells. */
    if (strcmp(sqlstate, "0A000") == 0 && function &&
        strcmp(function, "RevalidateCachedQuery") == 0)
        return DB_CONN_OUTDATED;
    /* connection exceptions; the server or the session is being ended */
    bool is_over = strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "57P0", 4) == 0;
    return is_over ? DB_CONN_BROKEN : DB_CONN_IDLE;
}

static void note_lost_statement(const struct db_conn *conn, const struct failure *failure)
{
    struct db_preparing *preparing = conn->preparing;
    int64_t lost_ns = atomic_load(&preparing->lost_ns);
    int64_t now_ns = clock_now_ns();
    bool is_news = lost_ns == 0 || now_ns - lost_ns > LOSS_REMEMBERED_NS;
    if (is_news)
        atomic_store(&preparing->lost_ns, now_ns);
    else if (conn->opened_ns > lost_ns && !atomic_exchange(&preparing->is_given_up, true))
        log_line(
            LOG_WARN,
            "prepared statements are lost on the way to the database, as by a pooler: from now "
            "on each query brings its SQL; --prepared-statements=off does so from the start",
            json_pack("{s:s, s:s}", "database", conn->address, "error", failure->message));
}

bool db_conn_refused(struct db_conn *conn, const PGresult *result, struct failure *failure)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    char detail[160];
    if (!sqlstate)
        return db_conn_broken(conn, failure);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    text_one_line(primary ? primary : "(no message)", detail, sizeof detail);
    failure_set(failure, FAILURE_DATABASE, "%s %s", sqlstate, detail);
    snprintf(failure->sqlstate, sizeof failure->sqlstate, "%s", sqlstate);
    if (conn->is_replaceable)
        conn->spoiled = state_after(sqlstate, PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION));
    bool is_lost_statement = strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "42P05") == 0;
    if (is_lost_statement && !conn->unprepared && conn->preparing)
        note_lost_statement(conn, failure);
    return false;
}

/* A server that ends a connection between queries sends FATAL and closes it. libpq takes in one
 * piece at a time, and parses it only when asked for a result. So this takes in all of it, and
 * PQisBusy() makes libpq parse it, which calls on_notice(). */
static void take_in_last_words(struct db_conn *conn)
{
    struct pollfd fd = {.fd = PQsocket(conn->pg), .events = POLLIN};
    while (PQstatus(conn->pg) == CONNECTION_OK && poll(&fd, 1, 0) > 0 && PQconsumeInput(conn->pg))
        continue;
    (void)PQisBusy(conn->pg);
}

enum db_conn_state db_conn_settled_state(const struct db_conn *conn)
{
    if (PQstatus(conn->pg) != CONNECTION_OK || PQpipelineStatus(conn->pg) != PQ_PIPELINE_OFF)
        return DB_CONN_BROKEN;
    if (conn->spoiled != DB_CONN_IDLE)
        return conn->spoiled;
    switch (PQtransactionStatus(conn->pg)) {
    case PQTRANS_IDLE:
        return DB_CONN_IDLE;
    case PQTRANS_INTRANS:
    case PQTRANS_INERROR:
        return DB_CONN_IN_TRANSACTION;
    case PQTRANS_ACTIVE:
    case PQTRANS_UNKNOWN:
        break;
    }
    return DB_CONN_BROKEN;
}

bool db_conn_is_last_result(struct db_conn *conn, const PGresult *result)
{
    if (PQpipelineStatus(conn->pg) == PQ_PIPELINE_OFF)
        return !result;
    /* In a pipeline NULL ends one statement's answer only; the sync ends all. If pipeline mode
     * cannot be left then, db_conn_settled_state() returns BROKEN. */
    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC)
        return false;
    (void)PQexitPipelineMode(conn->pg);
    return true;
}

/* No statement of ours begins one, and libpq would return it again and again. */
static bool is_copy(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

enum db_conn_state db_conn_consume(struct db_conn *conn)
{
    if (conn->state == DB_CONN_BROKEN)
        return DB_CONN_BROKEN;
    if (conn->state != DB_CONN_BUSY)
        take_in_last_words(conn);
    else if (!PQconsumeInput(conn->pg) || PQflush(conn->pg) < 0)
        conn->state = DB_CONN_BROKEN;
    while (conn->state == DB_CONN_BUSY && PQstatus(conn->pg) == CONNECTION_OK &&
           !PQisBusy(conn->pg)) {
        PGresult *result = PQgetResult(conn->pg);
        if (is_copy(result))
            conn->state = DB_CONN_BROKEN;
        else if (db_conn_is_last_result(conn, result))
            conn->state = DB_CONN_IDLE;
        PQclear(result);
    }
    if (conn->state != DB_CONN_BUSY && conn->state != DB_CONN_BROKEN)
        conn->state = db_conn_settled_state(conn);
    if (PQstatus(conn->pg) != CONNECTION_OK)
        conn->state = DB_CONN_BROKEN;
    return conn->state;
}

bool db_conn_may_write(const struct db_conn *conn, int64_t deadline_ns, struct failure *failure)
{
    if (conn->state != DB_CONN_IDLE && conn->state != DB_CONN_IN_TRANSACTION)
        return failure_set(failure, FAILURE_DATABASE, "connection(%s) is not ready for a query",
                           conn->address);
    if (clock_now_ns() < deadline_ns)
        return true;
    return failure_set(failure, FAILURE_WRITE_DEADLINE,
                       "connection(%s) failed to write: context deadline exceeded", conn->address);
}

/* "42P05", a statement that is there already, is about the connection (state_after()). */
bool db_failure_is_about_schema(const struct failure *failure)
{
    return failure->kind == FAILURE_DATABASE && strncmp(failure->sqlstate, "42", 2) == 0 &&
           strcmp(failure->sqlstate, "42P05") != 0;
}

static bool is_prepared(const struct db_conn *conn, const struct db_statement *statement)
{
    if (conn->unprepared)
        return false;
    for (size_t i = 0; i < conn->refused_count; i++)
        if (strcmp(conn->refused[i], statement->name) == 0)
            return false;
    return true;
}

bool db_conn_send(struct db_conn *conn, const struct db_statement *statement,
                  const struct db_value *parameters)
{
    enum { BINARY = 1 };
    const char *values[DB_CONN_MAX_PARAMETERS];
    int lengths[DB_CONN_MAX_PARAMETERS];
    int formats[DB_CONN_MAX_PARAMETERS];
    assert(statement->parameter_count >= 0 && statement->parameter_count <= DB_CONN_MAX_PARAMETERS);
    assert(statement->sql && (statement->name || conn->unprepared));
    for (int i = 0; i < statement->parameter_count; i++) {
        values[i] = parameters[i].bytes;
        lengths[i] = sizeof parameters[i].bytes;
        formats[i] = BINARY;
    }
    if (!is_prepared(conn, statement))
        return PQsendQueryParams(conn->pg, statement->sql, statement->parameter_count,
                                 statement->parameter_types, values, lengths, formats, BINARY) == 1;
    return PQsendQueryPrepared(conn->pg, statement->name, statement->parameter_count, values,
                               lengths, formats, BINARY) == 1;
}

static bool gave_up(struct db_conn *conn, enum db_conn_awaited why, struct failure *failure)
{
    if (why == INTERRUPTED) {
        conn->state = DB_CONN_BROKEN;
        return failure_set(failure, FAILURE_DATABASE,
                           "connection(%s) interrupted: its pool was cleared", conn->address);
    }
    return failure_set(failure, FAILURE_READ_DEADLINE,
                       "connection(%s) incomplete read of message: context deadline exceeded",
                       conn->address);
}

bool db_conn_flush(struct db_conn *conn, int64_t deadline_ns, struct failure *failure)
{
    int unsent;
    assert(conn->state != DB_CONN_BUSY); /* else its answer would be taken for this one's */
    conn->state = DB_CONN_BUSY;
    while ((unsent = PQflush(conn->pg)) == 1) {
        enum db_conn_awaited awaited =
            db_conn_await_socket(conn, POLLIN | POLLOUT, conn->interrupt_fd, deadline_ns);
        if (awaited != SOCKET_READY)
            return gave_up(conn, awaited, failure);
        if (!PQconsumeInput(conn->pg))
            return db_conn_broken(conn, failure);
    }
    return unsent == 0 || db_conn_broken(conn, failure);
}

bool db_conn_next_result(struct db_conn *conn, int64_t deadline_ns, PGresult **result,
                         struct failure *failure)
{
    *result = NULL;
    assert(conn->state == DB_CONN_BUSY || conn->state == DB_CONN_BROKEN);
    /* Once the connection is lost, PQgetResult() does not block. It returns the server's last
     * message, if there was one, as a result. */
    while (PQisBusy(conn->pg) && PQstatus(conn->pg) == CONNECTION_OK) {
        enum db_conn_awaited awaited =
            db_conn_await_socket(conn, POLLIN, conn->interrupt_fd, deadline_ns);
        if (awaited != SOCKET_READY)
            return gave_up(conn, awaited, failure);
        (void)PQconsumeInput(conn->pg);
    }
    *result = PQgetResult(conn->pg);
    if (!is_copy(*result))
        return true;
    PQclear(*result);
    *result = NULL;
    conn->state = DB_CONN_BROKEN;
    return failure_set(failure, FAILURE_DATABASE,
                       "connection(%s): the server began a COPY that nobody asked for",
                       conn->address);
}
