#include "service/db_conn_internal.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/text.h"
#include "service/thread_state.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct db_value db_value_int8(int64_t value)
{
    struct db_value out;
    uint64_t wire = htobe64((uint64_t)value);
    memcpy(out.bytes, &wire, sizeof wire);
    return out;
}

struct db_value db_value_float8(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return db_value_int8(bits);
}

enum awaited { SOCKET_READY, DEADLINE_PASSED, INTERRUPTED };

/* Waits for the socket, at most until the deadline or until `interrupt_fd` is readable. */
static enum awaited await_socket(const struct db_conn *conn, short events, int interrupt_fd,
                                 int64_t deadline_ns)
{
    struct pollfd fds[2] = {{.fd = PQsocket(conn->pg), .events = events},
                            {.fd = interrupt_fd, .events = POLLIN}};
    for (;;) {
        int ready = poll(fds, 2, clock_poll_ms(deadline_ns, 60000));
        if (ready > 0 && fds[1].revents)
            return INTERRUPTED;
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return SOCKET_READY; /* what is wrong with a socket, libpq finds out itself */
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

/* Between queries a server that ends a connection says so with FATAL and closes it. libpq takes in
 * one piece at a time and looks into it only when asked for a result: so all of it is taken in, and
 * PQisBusy() makes it look, which calls on_notice(). */
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
        if (db_conn_is_last_result(conn, result))
            conn->state = DB_CONN_IDLE;
        PQclear(result);
    }
    if (conn->state != DB_CONN_BUSY && conn->state != DB_CONN_BROKEN)
        conn->state = db_conn_settled_state(conn);
    if (PQstatus(conn->pg) != CONNECTION_OK)
        conn->state = DB_CONN_BROKEN;
    return conn->state;
}

static bool gave_up(struct db_conn *conn, enum awaited why, struct failure *failure)
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
    conn->state = DB_CONN_BUSY;
    while ((unsent = PQflush(conn->pg)) == 1) {
        enum awaited awaited =
            await_socket(conn, POLLIN | POLLOUT, conn->interrupt_fd, deadline_ns);
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
    /* Where the connection is lost, PQgetResult() does not block any more, and has the server's
     * last words, if there were any, as a result. */
    while (PQisBusy(conn->pg) && PQstatus(conn->pg) == CONNECTION_OK) {
        enum awaited awaited = await_socket(conn, POLLIN, conn->interrupt_fd, deadline_ns);
        if (awaited != SOCKET_READY)
            return gave_up(conn, awaited, failure);
        (void)PQconsumeInput(conn->pg);
    }
    *result = PQgetResult(conn->pg);
    return true;
}

/* After a PQsend…: flushes, then waits for the one result and for the end of the answer. */
static bool finish(struct db_conn *conn, int64_t deadline_ns, PGresult **out,
                   struct failure *failure)
{
    PGresult *result = NULL;
    PGresult *next;
    *out = NULL;
    if (!db_conn_flush(conn, deadline_ns, failure))
        return false;
    for (;;) {
        if (!db_conn_next_result(conn, deadline_ns, &next, failure)) {
            PQclear(result);
            return false;
        }
        if (!next)
            break;
        /* a statement has one result; behind a FATAL one libpq reports the lost connection as a
         * second */
        if (!result)
            result = next;
        else
            PQclear(next);
    }
    *out = result;
    return true;
}

bool db_conn_refused(struct db_conn *conn, const PGresult *result, struct failure *failure)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    char detail[160];
    if (!sqlstate)
        return db_conn_broken(conn, failure);
    text_one_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), detail, sizeof detail);
    failure_set(failure, FAILURE_DATABASE, "%s %s", sqlstate, detail);
    snprintf(failure->sqlstate, sizeof failure->sqlstate, "%s", sqlstate);
    return false;
}

/* Sorts what the server said: a result, an error, the end of the connection. */
static bool judge(struct db_conn *conn, PGresult **result, struct failure *failure)
{
    ExecStatusType status = PQresultStatus(*result);
    conn->state = db_conn_settled_state(conn);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return true;
    (void)db_conn_refused(conn, *result, failure);
    PQclear(*result);
    *result = NULL;
    return false;
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

bool db_conn_send(struct db_conn *conn, const struct db_statement *statement,
                  const struct db_value *parameters)
{
    enum { BINARY = 1 };
    const char *values[DB_CONN_MAX_PARAMETERS];
    int lengths[DB_CONN_MAX_PARAMETERS];
    int formats[DB_CONN_MAX_PARAMETERS];
    assert(statement->parameter_count <= DB_CONN_MAX_PARAMETERS);
    for (int i = 0; i < statement->parameter_count; i++) {
        values[i] = parameters[i].bytes;
        lengths[i] = sizeof parameters[i].bytes;
        formats[i] = BINARY;
    }
    if (conn->unprepared)
        return PQsendQueryParams(conn->pg, statement->sql, statement->parameter_count,
                                 statement->parameter_types, values, lengths, formats, BINARY) == 1;
    return PQsendQueryPrepared(conn->pg, statement->name, statement->parameter_count, values,
                               lengths, formats, BINARY) == 1;
}

bool db_conn_query(struct db_conn *conn, const struct db_statement *statement,
                   const struct db_value *parameters, int64_t deadline_ns, PGresult **result,
                   struct failure *failure)
{
    *result = NULL;
    if (!db_conn_may_write(conn, deadline_ns, failure))
        return false;
    enum thread_state former = thread_state_set(THREAD_QUERY);
    bool ok = db_conn_send(conn, statement, parameters)
                  ? finish(conn, deadline_ns, result, failure) && judge(conn, result, failure)
                  : db_conn_broken(conn, failure);
    thread_state_set(former);
    return ok;
}

bool db_conn_execute(struct db_conn *conn, const char *sql, int parameter_count,
                     const char *const *parameters, int64_t deadline_ns, PGresult **result,
                     struct failure *failure)
{
    enum { TEXT = 0 };
    *result = NULL;
    if (!db_conn_may_write(conn, deadline_ns, failure))
        return false;
    enum thread_state former = thread_state_set(THREAD_QUERY);
    bool ok = PQsendQueryParams(conn->pg, sql, parameter_count, NULL, parameters, NULL, NULL, TEXT)
                  ? finish(conn, deadline_ns, result, failure) && judge(conn, result, failure)
                  : db_conn_broken(conn, failure);
    thread_state_set(former);
    return ok;
}

/* With PQERRORS_SQLSTATE a refused connect reads "FATAL:  53300"; libpq 15 has no other way to the
 * code. */
static void connect_failed(const struct db_conn *conn, struct failure *failure)
{
    char detail[160];
    text_one_line(PQerrorMessage(conn->pg), detail, sizeof detail);
    const char *fatal = strstr(detail, "FATAL:  ");
    char sqlstate[6] = "";
    if (fatal && strspn(fatal + 8, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5)
        snprintf(sqlstate, sizeof sqlstate, "%.5s", fatal + 8);
    const char *gloss = "";
    if (strcmp(sqlstate, "53300") == 0)
        gloss = " (server full: too many connections)";
    else if (strncmp(sqlstate, "28", 2) == 0)
        gloss = " (the role is missing, may not log in, or its password is wrong)";
    else if (strcmp(sqlstate, "3D000") == 0)
        gloss = " (there is no such database)";
    else if (strcmp(sqlstate, "57P03") == 0)
        gloss = " (the server is starting up or shutting down)";
    failure_set(failure, FAILURE_UNAVAILABLE, "connect to %s failed: %s%s", conn->address, detail,
                gloss);
    memcpy(failure->sqlstate, sqlstate, sizeof sqlstate);
}

static bool connect_until(struct db_conn *conn, int64_t deadline_ns, int interrupt_fd,
                          struct failure *failure)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED || PQstatus(conn->pg) == CONNECTION_BAD) {
            connect_failed(conn, failure);
            return false;
        }
        short events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        enum awaited awaited = await_socket(conn, events, interrupt_fd, deadline_ns);
        if (awaited != SOCKET_READY)
            return failure_set(failure, FAILURE_UNAVAILABLE, "connect to %s failed: %s",
                               conn->address,
                               awaited == INTERRUPTED ? "given up" : "no answer in time");
        status = PQconnectPoll(conn->pg);
    }
    return true;
}

static bool prepare(struct db_conn *conn, const struct db_statement *statement, int64_t deadline_ns,
                    struct failure *failure)
{
    PGresult *result = NULL;
    bool ok = PQsendPrepare(conn->pg, statement->name, statement->sql, statement->parameter_count,
                            statement->parameter_types)
                  ? finish(conn, deadline_ns, &result, failure) && judge(conn, &result, failure)
                  : db_conn_broken(conn, failure);
    PQclear(result);
    if (!ok)
        failure->kind = FAILURE_UNAVAILABLE; /* of no use as a connection, whatever it was */
    return ok;
}

/* libpq itself would print notices on stderr, among our lines of JSON. */
static void on_notice(void *context, const PGresult *notice)
{
    struct db_conn *conn = context;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
        conn->state = DB_CONN_BROKEN;
}

/* Starts a connect; the rest of it is connect_until()'s. */
static bool begin_connect(struct db_conn *conn, const struct db_conn_config *config,
                          struct failure *failure)
{
    /* A peer that is gone without a word is noticed within about half a minute, at rest or at work.
     * What stands before dbname, the conninfo may overrule. */
    const char *const keywords[] = {
        "keepalives_idle", "keepalives_interval",       "keepalives_count", "tcp_user_timeout",
        "dbname",          "fallback_application_name", "client_encoding",  NULL};
    const char *const values[] = {
        "15", "5", "3", "10000", config->conninfo, config->application_name, "UTF8", NULL};
    conn->pg = PQconnectStartParams(keywords, values, 1);
    const char *host = conn->pg ? PQhost(conn->pg) : NULL;
    const char *port = conn->pg ? PQport(conn->pg) : NULL;
    snprintf(conn->address, sizeof conn->address, "%s:%s", host ? host : "?", port ? port : "?");
    if (!conn->pg)
        return failure_set(failure, FAILURE_UNAVAILABLE, "out of memory");
    PQsetErrorVerbosity(conn->pg, PQERRORS_SQLSTATE);
    return true;
}

/* What a connection has beside libpq's. */
static bool finish_connect(struct db_conn *conn, struct failure *failure)
{
    PQsetNoticeReceiver(conn->pg, on_notice, conn);
    PQsetErrorVerbosity(conn->pg, PQERRORS_DEFAULT);
    conn->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    conn->socket_copy = fcntl(PQsocket(conn->pg), F_DUPFD_CLOEXEC, 0);
    if (conn->interrupt_fd < 0 || conn->socket_copy < 0)
        return failure_set(failure, FAILURE_UNAVAILABLE, "connect to %s failed: %s", conn->address,
                           strerror(errno));
    return PQsetnonblocking(conn->pg, 1) == 0 || db_conn_broken(conn, failure);
}

struct db_conn *db_conn_open(const struct db_conn_config *config, int64_t deadline_ns,
                             int interrupt_fd, struct failure *failure)
{
    struct db_conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        failure_set(failure, FAILURE_UNAVAILABLE, "out of memory");
        return NULL;
    }
    conn->interrupt_fd = conn->socket_copy = -1;
    conn->unprepared = config->unprepared;
    bool ok = begin_connect(conn, config, failure) &&
              connect_until(conn, deadline_ns, interrupt_fd, failure) &&
              finish_connect(conn, failure);
    for (size_t i = 0; ok && !config->unprepared && i < config->statement_count; i++)
        ok = prepare(conn, &config->statements[i], deadline_ns, failure);
    if (!ok) {
        db_conn_close(conn);
        return NULL;
    }
    conn->state = DB_CONN_IDLE;
    return conn;
}

/* libpq says goodbye only on a connection that it thinks is sound, and its close() ends nothing as
 * long as there is the copy: so we tell the server ourselves. */
int db_conn_close_but_copy(struct db_conn *conn)
{
    int copy = conn->socket_copy;
    PQfinish(conn->pg);
    if (copy >= 0)
        (void)shutdown(copy, SHUT_WR);
    if (conn->interrupt_fd >= 0)
        close(conn->interrupt_fd);
    free(conn);
    return copy;
}

void db_conn_close(struct db_conn *conn)
{
    int copy = conn ? db_conn_close_but_copy(conn) : -1;
    if (copy >= 0)
        close(copy);
}

bool db_conn_wait(struct db_conn *conn, int wake_fd, int64_t deadline_ns)
{
    struct pollfd fds[2] = {{.fd = PQsocket(conn->pg), .events = POLLIN},
                            {.fd = wake_fd, .events = POLLIN}};
    int ready = poll(fds, 2, clock_poll_ms(deadline_ns, 60000));
    if (ready > 0 && fds[0].revents)
        return db_conn_consume(conn) != DB_CONN_BROKEN;
    return true;
}

bool db_conn_take_notifications(struct db_conn *conn)
{
    PGnotify *notification;
    bool any = false;
    while ((notification = PQnotifies(conn->pg))) {
        PQfreemem(notification);
        any = true;
    }
    return any;
}
