#include "service/db/conn_private.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/text.h"
#include "service/base/thread_state.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
        /* A statement has one result. After a FATAL one, libpq reports the lost connection as a
         * second. */
        if (!result)
            result = next;
        else
            PQclear(next);
    }
    *out = result;
    return true;
}

/* Sorts the answer: a result, an error, or the end of the connection. */
static bool judge(struct db_conn *conn, PGresult **result, struct failure *failure)
{
    ExecStatusType status = PQresultStatus(*result);
    if (conn->state != DB_CONN_BROKEN) /* by a last word behind the answer */
        conn->state = db_conn_settled_state(conn);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return true;
    (void)db_conn_refused(conn, *result, failure);
    if (conn->state != DB_CONN_BROKEN)
        conn->state = db_conn_settled_state(conn);
    PQclear(*result);
    *result = NULL;
    return false;
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
    assert(ok == (*result != NULL));
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
    assert(ok == (*result != NULL));
    return ok;
}

/* With PQERRORS_SQLSTATE a refused connect reads "FATAL:  53300", where the first word is in the
 * server's language; libpq 15 has no other way to the code. A line says so of each address that was
 * tried. Takes the last refusal: its line, and its code. */
static void find_refusal(const char *said, char *detail, size_t size, char sqlstate[6])
{
    char line[1024];
    for (size_t length; *said; said += length + (said[length] == '\n')) {
        length = strcspn(said, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, said);
        const char *code = length > 8 && length < sizeof line ? line + length - 5 : "";
        if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 ||
            strncmp(code - 3, ":  ", 3) != 0)
            continue;
        memcpy(sqlstate, code, 6);
        text_one_line(line, detail, size);
    }
}

static void connect_failed(const struct db_conn *conn, struct failure *failure)
{
    char detail[160];
    char sqlstate[6] = "";
    text_one_line(PQerrorMessage(conn->pg), detail, sizeof detail);
    find_refusal(PQerrorMessage(conn->pg), detail, sizeof detail, sqlstate);
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
        enum db_conn_awaited awaited =
            db_conn_await_socket(conn, events, interrupt_fd, deadline_ns);
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
    if (ok)
        return true;
    if (db_failure_is_about_schema(failure)) {
        conn->refused[conn->refused_count++] = statement->name;
        return true;
    }
    failure->kind = FAILURE_UNAVAILABLE; /* makes the connection useless */
    return false;
}

/* A setting, in one statement of the simple protocol. */
static bool set(struct db_conn *conn, const char *sql, int64_t deadline_ns, struct failure *failure)
{
    PGresult *result = NULL;
    bool ok = PQsendQuery(conn->pg, sql)
                  ? finish(conn, deadline_ns, &result, failure) && judge(conn, &result, failure)
                  : db_conn_broken(conn, failure);
    PQclear(result);
    if (!ok)
        failure->kind = FAILURE_UNAVAILABLE;
    return ok;
}

/* A prepare waits for whoever locks a table. The server ends that wait before we would: a backend
 * that waits for a lock does not see that its client has gone, so each try would leave one behind.
 */
static bool limit_lock_waits(struct db_conn *conn, int64_t deadline_ns, struct failure *failure)
{
    char sql[64];
    int64_t left_ms = (deadline_ns - clock_now_ns()) / CLOCK_NS_PER_MS;
    snprintf(sql, sizeof sql, "SET lock_timeout = %" PRId64, left_ms > 2 ? left_ms / 2 : 1);
    return set(conn, sql, deadline_ns, failure);
}

/* A statement that does not fit the schema fails where it is used, and the others are of use. False
 * where none fits: DATABASE, with the last one's error. */
static bool prepare_all(struct db_conn *conn, const struct db_conn_config *config,
                        int64_t deadline_ns, struct failure *failure)
{
    assert(config->statement_count <= DB_CONN_MAX_STATEMENTS);
    if (config->statement_count == 0)
        return true;
    if (!limit_lock_waits(conn, deadline_ns, failure))
        return false;
    for (size_t i = 0; i < config->statement_count; i++)
        if (!prepare(conn, &config->statements[i], deadline_ns, failure))
            return false;
    if (conn->refused_count == config->statement_count)
        return false;
    failure->kind = FAILURE_NONE;
    return set(conn, "RESET lock_timeout", deadline_ns, failure);
}

/* Without a receiver libpq prints notices on stderr, among our lines of JSON. */
static void on_notice(void *context, const PGresult *notice)
{
    struct db_conn *conn = context;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
        conn->state = DB_CONN_BROKEN;
}

/* Starts a connect; connect_until() goes on with it. */
static bool begin_connect(struct db_conn *conn, const struct db_conn_config *config,
                          struct failure *failure)
{
    /* A peer that vanishes silently is noticed within about half a minute, idle or not. The
     * conninfo may overrule the keywords that stand before dbname. */
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
    PQsetNoticeReceiver(conn->pg, on_notice, conn);
    PQsetErrorVerbosity(conn->pg, PQERRORS_SQLSTATE);
    return true;
}

/* What a connection has in addition to libpq's. */
static bool finish_connect(struct db_conn *conn, struct failure *failure)
{
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
    assert(config->statement_count == 0 || config->statements);
    struct db_conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        failure_set(failure, FAILURE_UNAVAILABLE, "out of memory");
        return NULL;
    }
    conn->interrupt_fd = conn->socket_copy = -1;
    conn->opened_ns = clock_now_ns();
    conn->is_replaceable = config->is_replaceable;
    conn->preparing = config->preparing;
    conn->unprepared =
        config->unprepared || (config->preparing && atomic_load(&config->preparing->is_given_up));
    bool ok = begin_connect(conn, config, failure) &&
              connect_until(conn, deadline_ns, interrupt_fd, failure) &&
              finish_connect(conn, failure);
    if (ok && !conn->unprepared)
        ok = prepare_all(conn, config, deadline_ns, failure);
    if (!ok) {
        db_conn_close(conn);
        return NULL;
    }
    assert(conn->interrupt_fd >= 0 && conn->socket_copy >= 0);
    conn->state = DB_CONN_IDLE;
    return conn;
}

/* libpq sends its Terminate message only on a connection that it thinks is sound, and its close()
 * has no effect while the copy is open. So the shutdown tells the server. */
int db_conn_close_but_copy(struct db_conn *conn)
{
    assert(conn);
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
