#include "service/toggles/control.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "service/base/thread_state.h"
#include "service/dump/files.h"
#include "service/dump/helper.h"
#include "service/toggles/store.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

/* How often the database is asked whether it is there, and how old its last answer may be for
 * /readyz. */
#define HEARTBEAT_NS (500 * CLOCK_NS_PER_MS)
#define FRESH_NS     (2 * CLOCK_NS_PER_S)
#define CONNECT_NS   (3 * CLOCK_NS_PER_S)
#define QUERY_NS     (2 * CLOCK_NS_PER_S)
/* Tries at 100, 200, 400, 500, 500 … ms while it is away. */
#define BACK_OFF_FIRST_NS (100 * CLOCK_NS_PER_MS)
#define BACK_OFF_MAX_NS   (500 * CLOCK_NS_PER_MS)
/* An event that could not be recorded is tried again after this time. */
#define RECORD_AGAIN_NS (5 * CLOCK_NS_PER_S)
/* Between two heartbeats: with a heartbeat behind it the last answer does not become too old. */
#define RECORD_NS (1200 * CLOCK_NS_PER_MS)

/* Lock key: (i) immutable after start, (a) atomic, (t) the control thread's own, (m) under `lock`.
 */
struct control {
    struct control_config config;   /* (i) */
    struct db_conn_config conn;     /* (i) */
    pthread_t thread;               /* (i) */
    int wake_fd;                    /* (i) an eventfd: stop */
    _Atomic bool stopping;          /* (a) */
    _Atomic int64_t last_answer_ns; /* (a) monotonic; 0: none yet, or the connection was lost */
    _Atomic int64_t backends;       /* (a) with that answer; -1: unknown */
    bool restart;                   /* (i) once `stopping` is set: another life follows */
    int64_t started_ns;             /* (i) monotonic */
    char life[17];                  /* (i) names this one in its start: 16 random hex digits */
    bool start_recorded;            /* (t) */
    int64_t record_at_ns;           /* (t) when recording the start is tried next */
    bool record_failed;             /* (t) the log has it */
    bool helper_was_there;          /* (t) at the last heartbeat */
    bool is_outdated;               /* (t) the table has changed since it was read */
    bool read_failed;               /* (t) the log has it */

    /* Held from reading the table to putting it in force, so that an older reading never overwrites
     * a newer one. */
    pthread_mutex_t store_lock;

    pthread_mutex_t lock;
    pthread_cond_t tried;
    bool first_try_done; /* (m) */
};

static void note_answer(struct control *control)
{
    atomic_store(&control->last_answer_ns, clock_now_ns());
}

static bool read_stored(struct control *control, struct db_conn *conn, struct failure *failure)
{
    int64_t deadline_ns = clock_now_ns() + QUERY_NS;
    CHECK_PTHREAD(pthread_mutex_lock(&control->store_lock));
    json_t *toggles = store_read(conn, STORE_TOGGLE, deadline_ns, failure);
    if (toggles)
        toggles_apply(control->config.toggles, toggles);
    json_t *settings = toggles ? store_read(conn, STORE_SETTING, deadline_ns, failure) : NULL;
    if (settings)
        settings_note(control->config.settings, settings);
    CHECK_PTHREAD(pthread_mutex_unlock(&control->store_lock));
    bool ok = settings != NULL;
    json_decref(toggles);
    json_decref(settings);
    if (ok && control->config.on_new_settings && settings_need_restart(control->config.settings))
        control->config.on_new_settings();
    return ok;
}

/* Asks whether the database is there, by a question whose answer is of use. */
static bool heartbeat(struct control *control, struct db_conn *conn, struct failure *failure)
{
    const char *application[] = {control->config.pool_application};
    PGresult *result;
    if (!db_conn_execute(conn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1",
                         1, application, clock_now_ns() + QUERY_NS, &result, failure)) {
        atomic_store(&control->backends, -1);
        /* An error that the server names is an answer, but for those by which it ends the session.
         */
        if (!failure->sqlstate[0] || strncmp(failure->sqlstate, "57P", 3) == 0)
            return false;
        note_answer(control);
        return true;
    }
    bool is_number = PQntuples(result) == 1 && PQnfields(result) == 1;
    atomic_store(&control->backends, is_number ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : -1);
    PQclear(result);
    note_answer(control);
    return true;
}

static bool execute(struct db_conn *conn, const char *sql, struct failure *failure)
{
    PGresult *result;
    bool ok = db_conn_execute(conn, sql, 0, NULL, clock_now_ns() + QUERY_NS, &result, failure);
    PQclear(result);
    return ok;
}

/* The dumps of earlier lives: each becomes an event, and a line in the log, once. */
static bool record_dumps(struct control *control, struct db_conn *conn, int64_t deadline_ns,
                         struct failure *failure)
{
    const char *dir = control->config.dump_dir;
    json_t *files = dir ? dump_files_list(dir) : NULL;
    json_t *added = NULL;
    bool ok =
        json_array_size(files) == 0 ||
        event_append_dumps(conn, control->config.replica, files, &added, deadline_ns, failure);
    for (size_t i = 0; i < json_array_size(added); i++)
        log_line(LOG_WARN, "an earlier run left a dump of its threads when it ended",
                 json_pack("{s:s, s:O}", "dir", dir, "file", json_array_get(added, i)));
    json_decref(added);
    json_decref(files);
    return ok;
}

/* Once a life: notices that the last one ended without a stop, and records this one's start. It may
 * be tried again, whatever came of it. */
static bool record_start(struct control *control, struct db_conn *conn, int64_t deadline_ns,
                         struct failure *failure)
{
    const char *replica = control->config.replica;
    bool crashed = false;
    if (control->start_recorded)
        return true;
    if (!record_dumps(control, conn, deadline_ns, failure))
        return false;
    if (!event_append_unclean_end(conn, replica, control->life, control->started_ns, &crashed,
                                  deadline_ns, failure))
        return false;
    if (crashed)
        log_line(LOG_WARN, "the last run did not stop by itself: it crashed or was killed",
                 json_pack("{s:s}", "replica", replica));
    json_t *detail =
        json_pack("{s:o, s:i, s:s}", "toggles", toggles_describe(control->config.toggles), "pid",
                  getpid(), "life", control->life);
    control->start_recorded =
        detail &&
        event_append_start(conn, replica, detail, control->started_ns, deadline_ns, failure);
    if (!detail)
        failure_set(failure, FAILURE_LIMIT, "out of memory");
    json_decref(detail);
    return control->start_recorded;
}

/* A connection of its own, since a session keeps the settings that its role had at its start, and
 * since a deadline that passes ends it: toggles and readiness need not notice. */
static struct db_conn *connect_to_record(struct control *control, int64_t deadline_ns,
                                         struct failure *failure)
{
    struct db_conn *conn = db_conn_open(&control->conn, deadline_ns, -1, failure);
    if (conn && event_limit_statements(conn, deadline_ns, failure))
        return conn;
    db_conn_close(conn);
    return NULL;
}

/* Events are apart from the rest: a role that may only read has toggles and readiness all the same.
 */
static void try_to_record_start(struct control *control, int64_t patience_ns)
{
    struct failure failure;
    int64_t deadline_ns = clock_now_ns() + patience_ns;
    if (control->start_recorded || clock_now_ns() < control->record_at_ns)
        return;
    struct db_conn *conn = connect_to_record(control, deadline_ns, &failure);
    bool ok = conn && record_start(control, conn, deadline_ns, &failure);
    db_conn_close(conn);
    if (ok)
        return;
    control->record_at_ns = clock_now_ns() + RECORD_AGAIN_NS;
    if (!control->record_failed)
        log_line(LOG_WARN, "events cannot be recorded, and are tried again every 5 s",
                 json_pack("{s:s}", "error", failure.message));
    control->record_failed = true;
}

/* LISTEN comes before the reading, so that no change falls between the two. The server ends what
 * waits for a lock: a backend that does would not see that we have left it. */
static bool begin(struct control *control, struct db_conn *conn, struct failure *failure)
{
    if (!event_limit_statements(conn, clock_now_ns() + QUERY_NS, failure))
        return false;
    if (!execute(conn, "LISTEN flashover_toggle", failure) || !read_stored(control, conn, failure))
        return false;
    control->is_outdated = false;
    try_to_record_start(control, CONNECT_NS);
    return true;
}

/* Without it a dying process prints bare addresses, and a look at the threads fails. */
static void watch_helper(struct control *control)
{
    if (control->helper_was_there && !dump_helper_is_alive())
        log_line(LOG_ERROR,
                 "the process that prints dumps has ended; only a restart brings it back", NULL);
    control->helper_was_there = dump_helper_is_alive();
}

/* The table has changed. An error that the server names, as of a lock, is about the table alone: it
 * is an answer, and the table is read again. False: the connection is of no use. */
static bool read_again(struct control *control, struct db_conn *conn, struct failure *failure)
{
    control->is_outdated = !read_stored(control, conn, failure);
    if (!control->is_outdated || !failure->sqlstate[0]) {
        control->read_failed = false;
        return !control->is_outdated;
    }
    note_answer(control);
    if (!control->read_failed)
        log_line(
            LOG_WARN,
            "changed toggles and settings cannot be read, and are tried again every half second",
            json_pack("{s:s}", "error", failure->message));
    control->read_failed = true;
    return true;
}

/* Listens until the connection breaks or the service stops. */
static void listen_until_lost(struct control *control, struct db_conn *conn,
                              struct failure *failure)
{
    int64_t next_heartbeat_ns = 0;
    int64_t read_again_ns = 0;
    bool ok = true;
    while (ok && !atomic_load(&control->stopping)) {
        if (clock_now_ns() >= next_heartbeat_ns) {
            ok = heartbeat(control, conn, failure);
            watch_helper(control);
            next_heartbeat_ns = clock_now_ns() + HEARTBEAT_NS;
            if (ok && !control->is_outdated) /* two waits for a lock would take too long */
                try_to_record_start(control, RECORD_NS);
        }
        thread_state_set(THREAD_IDLE);
        if (ok && !db_conn_wait(conn, control->wake_fd, next_heartbeat_ns))
            ok = failure_set(failure, FAILURE_UNAVAILABLE, "the connection was lost");
        thread_state_set(THREAD_RUNNING);
        control->is_outdated |= ok && db_conn_take_notifications(conn);
        if (ok && control->is_outdated && clock_now_ns() >= read_again_ns) {
            ok = read_again(control, conn, failure);
            read_again_ns = control->is_outdated ? next_heartbeat_ns : 0;
        }
    }
}

static void first_try_is_over(struct control *control)
{
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    if (!control->first_try_done) {
        control->first_try_done = true;
        CHECK_PTHREAD(pthread_cond_signal(&control->tried));
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
}

static void wait_for_retry(struct control *control, int64_t back_off_ns)
{
    struct pollfd wake = {.fd = control->wake_fd, .events = POLLIN};
    int64_t until_ns = clock_now_ns() + back_off_ns;
    thread_state_set(THREAD_IDLE);
    while (poll(&wake, 1, clock_poll_ms(until_ns, 60000)) < 0 && errno == EINTR)
        continue;
    thread_state_set(THREAD_RUNNING);
}

static bool append_stop(struct control *control, struct db_conn *conn, int64_t at_ns,
                        int64_t deadline_ns, struct failure *failure)
{
    json_t *detail = control->restart ? json_pack("{s:b}", "restart", 1) : NULL;
    bool ok =
        event_append(conn, control->config.replica, "stop", detail, at_ns, deadline_ns, failure);
    json_decref(detail);
    return ok;
}

/* All within one deadline: whoever asked for the stop waits for it. */
static void record_stop(struct control *control, struct db_conn *conn)
{
    struct failure failure;
    int64_t now_ns = clock_now_ns();
    int64_t deadline_ns = now_ns + QUERY_NS;
    if (!conn ||
        (control->start_recorded && append_stop(control, conn, now_ns, deadline_ns, &failure)))
        return;
    struct db_conn *again = connect_to_record(control, deadline_ns, &failure);
    if (!again || !record_start(control, again, deadline_ns, &failure) ||
        !append_stop(control, again, now_ns, deadline_ns, &failure))
        log_line(LOG_WARN, "the stop could not be recorded",
                 json_pack("{s:s}", "error", failure.message));
    db_conn_close(again);
}

static void *control_main(void *argument)
{
    struct control *control = argument;
    struct db_conn *conn = NULL;
    int64_t back_off_ns = BACK_OFF_FIRST_NS;
    thread_state_enter("control", "");
    for (;;) {
        struct failure failure = {0};
        conn = db_conn_open(&control->conn, clock_now_ns() + CONNECT_NS, -1, &failure);
        bool ok = conn && begin(control, conn, &failure);
        if (ok) {
            note_answer(control);
            back_off_ns = BACK_OFF_FIRST_NS;
        }
        first_try_is_over(control);
        if (ok)
            listen_until_lost(control, conn, &failure);
        if (atomic_load(&control->stopping))
            break;
        atomic_store(&control->last_answer_ns, 0);
        atomic_store(&control->backends, -1);
        db_conn_close(conn);
        log_line(LOG_WARN, "control connection failed",
                 json_pack("{s:s, s:I}", "error", failure.message, "retry_ms",
                           (json_int_t)(back_off_ns / CLOCK_NS_PER_MS)));
        wait_for_retry(control, back_off_ns);
        back_off_ns = 2 * back_off_ns < BACK_OFF_MAX_NS ? 2 * back_off_ns : BACK_OFF_MAX_NS;
    }
    record_stop(control, conn);
    db_conn_close(conn);
    thread_state_leave();
    return NULL;
}

static void name_life(struct control *control)
{
    uint64_t number;
    ssize_t got = getrandom(&number, sizeof number, 0); /* so few bytes come whole */
    assert(got == (ssize_t)sizeof number);
    snprintf(control->life, sizeof control->life, "%016" PRIx64, number);
}

struct control *control_start(const struct control_config *config, struct failure *failure)
{
    assert(config->toggles && config->settings && config->replica && config->pool_application);
    struct control *control = calloc(1, sizeof *control);
    int wake_fd = eventfd(0, EFD_CLOEXEC);
    bool ok = control && wake_fd >= 0;
    if (ok) {
        control->config = *config;
        control->started_ns = clock_now_ns();
        name_life(control);
        atomic_init(&control->backends, -1);
        control->helper_was_there = dump_helper_slots(DUMP_FATAL) != NULL;
        control->conn = (struct db_conn_config){.conninfo = config->conninfo,
                                                .application_name = "flashover-control"};
        control->wake_fd = wake_fd;
        CHECK_PTHREAD(pthread_mutex_init(&control->store_lock, NULL));
        CHECK_PTHREAD(pthread_mutex_init(&control->lock, NULL));
        clock_cond_init(&control->tried);
        ok = pthread_create(&control->thread, NULL, control_main, control) == 0;
    }
    if (!ok) {
        if (wake_fd >= 0)
            close(wake_fd);
        free(control);
        failure_set(failure, FAILURE_UNAVAILABLE, "the control thread cannot start");
        return NULL;
    }
    const struct timespec until = clock_timespec(clock_now_ns() + CONNECT_NS);
    int waited = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&control->lock));
    while (!control->first_try_done && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&control->tried, &control->lock, &until);
    CHECK_PTHREAD(pthread_mutex_unlock(&control->lock));
    return control;
}

bool control_reachable(struct control *control)
{
    int64_t last_ns = atomic_load(&control->last_answer_ns);
    return last_ns > 0 && clock_now_ns() - last_ns < FRESH_NS;
}

int64_t control_backends(const struct control *control)
{
    return atomic_load(&control->backends);
}

bool control_change(struct control *control, enum store_table table, const json_t *changes,
                    struct failure *failure)
{
    int64_t deadline_ns = clock_now_ns() + CONNECT_NS;
    assert(json_is_object(changes));
    CHECK_PTHREAD(pthread_mutex_lock(&control->store_lock));
    json_t *all =
        store_change(&control->conn, table, control->config.replica, changes, deadline_ns, failure);
    if (all && table == STORE_TOGGLE)
        toggles_apply(control->config.toggles, all);
    if (all && table == STORE_SETTING)
        settings_note(control->config.settings, all);
    CHECK_PTHREAD(pthread_mutex_unlock(&control->store_lock));
    bool done = all != NULL;
    json_decref(all);
    return done;
}

void control_stop(struct control *control, bool restart)
{
    uint64_t one = 1;
    assert(!atomic_load(&control->stopping)); /* once */
    control->restart = restart;
    atomic_store(&control->stopping, true);
    ssize_t written = write(control->wake_fd, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
    CHECK_PTHREAD(pthread_join(control->thread, NULL));
    /* Not freed: a request that was not finished in time may still ask it, until the process ends.
     */
}
