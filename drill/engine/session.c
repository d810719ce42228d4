#include "drill/engine/session.h"

#include "common/check.h"
#include "common/clock.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define APPLICATION "batch"
#define CONNECT_S   "5"

/* Lock key: (i) immutable, (t) the thread's own until `over` is set, (a) atomic. */
struct session {
    const char *conninfo;    /* (i) */
    const struct step *step; /* (i) */
    pthread_t thread;        /* (i) */
    int wake_fd;             /* (i) an eventfd: end */
    char error[160];         /* (t) */
    _Atomic bool over;       /* (a) */
};

/* Waits until the socket can be read, or until a moment (CLOCK_NEVER: none). False: it is to end.
 */
static bool wait_for(const struct session *session, int socket, int64_t until_ns, bool *readable)
{
    struct pollfd fds[2] = {{.fd = session->wake_fd, .events = POLLIN},
                            {.fd = socket, .events = POLLIN}};
    *readable = false;
    int ready = poll(fds, 2, clock_poll_ms(until_ns, 1000));
    if (ready > 0 && fds[0].revents)
        return false;
    *readable = ready > 0 && fds[1].revents;
    return true;
}

static void note_error(struct session *session, const char *message)
{
    snprintf(session->error, sizeof session->error, "%s", message);
    session->error[strcspn(session->error, "\n")] = '\0';
}

/* One statement, to its end. False: it failed, or the session is to end. */
static bool execute(struct session *session, PGconn *pg, const char *statement)
{
    bool ok = PQsendQuery(pg, statement) == 1;
    while (ok && PQisBusy(pg)) {
        bool readable;
        ok = wait_for(session, PQsocket(pg), CLOCK_NEVER, &readable) &&
             (!readable || PQconsumeInput(pg) == 1);
    }
    if (!ok && !PQisBusy(pg))
        note_error(session, PQerrorMessage(pg));
    for (PGresult *result; ok && (result = PQgetResult(pg));) {
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            note_error(session, PQresultErrorMessage(result));
            PQclear(result);
            return false;
        }
        PQclear(result);
    }
    return ok;
}

/* Does nothing, as a job does that was forgotten. The server may end it. */
static void hold(struct session *session, PGconn *pg, int64_t until_ns)
{
    bool readable;
    while (clock_now_ns() < until_ns && wait_for(session, PQsocket(pg), until_ns, &readable)) {
        if (readable && (PQconsumeInput(pg) != 1 || PQstatus(pg) == CONNECTION_BAD)) {
            note_error(session, PQerrorMessage(pg));
            return;
        }
    }
}

static void cancel(PGconn *pg)
{
    char ignored[256];
    PGcancel *request = PQgetCancel(pg);
    if (request && PQtransactionStatus(pg) == PQTRANS_ACTIVE)
        (void)PQcancel(request, ignored, sizeof ignored);
    PQfreeCancel(request);
}

static void *session_main(void *argument)
{
    struct session *session = argument;
    const char *const keywords[] = {"dbname", "user", "application_name", "connect_timeout", NULL};
    const char *const values[] = {session->conninfo, session->step->role, APPLICATION, CONNECT_S,
                                  NULL};
    PGconn *pg = PQconnectdbParams(keywords, values, 1);
    int64_t until_ns = clock_now_ns() + (int64_t)(session->step->hold_s * CLOCK_NS_PER_S);
    bool ok = pg && PQstatus(pg) == CONNECTION_OK;
    if (pg && !ok)
        note_error(session, PQerrorMessage(pg));
    for (int i = 0; ok && i < session->step->statement_count; i++)
        ok = execute(session, pg, session->step->statements[i]);
    if (ok)
        hold(session, pg, until_ns);
    if (pg && PQstatus(pg) == CONNECTION_OK)
        cancel(pg);
    PQfinish(pg);
    atomic_store(&session->over, true);
    return NULL;
}

struct session *session_start(const char *conninfo, const struct step *step)
{
    assert(step->kind == STEP_SQL);
    struct session *session = calloc(1, sizeof *session);
    int wake_fd = session ? eventfd(0, EFD_CLOEXEC) : -1;
    if (wake_fd >= 0) {
        session->conninfo = conninfo;
        session->step = step;
        session->wake_fd = wake_fd;
        if (pthread_create(&session->thread, NULL, session_main, session) == 0)
            return session;
        close(wake_fd);
    }
    free(session);
    return NULL;
}

bool session_is_over(struct session *session, char *error, size_t error_size)
{
    bool over = atomic_load(&session->over);
    if (over && error)
        snprintf(error, error_size, "%s", session->error);
    return over;
}

const char *session_role(const struct session *session)
{
    return session->step->role;
}

void session_end(struct session *session)
{
    uint64_t one = 1;
    if (!session)
        return;
    ssize_t written = write(session->wake_fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
    CHECK_PTHREAD(pthread_join(session->thread, NULL));
    close(session->wake_fd);
    free(session);
}
