#include "service/toggle_store.h"

#include "common/check.h"
#include "common/clock.h"

#include <inttypes.h>

json_t *toggle_store_read(struct db_conn *conn, int64_t deadline_ns, struct failure *failure)
{
    PGresult *result;
    if (!db_conn_execute(conn, "SELECT name, value FROM toggle", 0, NULL, deadline_ns, &result,
                         failure))
        return NULL;
    json_t *stored = json_object();
    for (int i = 0; i < PQntuples(result); i++)
        json_object_set_new(stored, PQgetvalue(result, i, 0),
                            json_string(PQgetvalue(result, i, 1)));
    PQclear(result);
    if (!stored)
        failure_set(failure, FAILURE_LIMIT, "out of memory");
    return stored;
}

/* Runs a statement whose last parameter is a JSON document. *rows: how many it touched; may be
 * NULL. */
static bool execute_with_json(struct db_conn *conn, const char *sql, const char *const *texts,
                              int text_count, const json_t *document, long *rows,
                              int64_t deadline_ns, struct failure *failure)
{
    enum { MAX_TEXTS = 3 };
    const char *parameters[MAX_TEXTS + 1];
    char *json = document ? json_dumps(document, JSON_COMPACT) : strdup("{}");
    PGresult *result = NULL;
    assert(text_count <= MAX_TEXTS);
    if (!json)
        return failure_set(failure, FAILURE_LIMIT, "out of memory");
    for (int i = 0; i < text_count; i++)
        parameters[i] = texts[i];
    parameters[text_count] = json;
    bool ok = db_conn_execute(conn, sql, text_count + 1, parameters, deadline_ns, &result, failure);
    if (ok && rows)
        *rows = strtol(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    free(json);
    return ok;
}

/* The server gives up before we do, so that a deadline passes with its answer: nothing was stored.
 */
static bool limit_statements(struct db_conn *conn, int64_t deadline_ns, struct failure *failure)
{
    char limit_ms[24];
    PGresult *result = NULL;
    int64_t left_ms = (deadline_ns - clock_now_ns()) / CLOCK_NS_PER_MS;
    snprintf(limit_ms, sizeof limit_ms, "%" PRId64, left_ms > 2 ? left_ms / 2 : 1);
    bool ok = db_conn_execute(conn, "SELECT set_config('statement_timeout', $1, false)", 1,
                              (const char *[]){limit_ms}, deadline_ns, &result, failure);
    PQclear(result);
    return ok;
}

static bool store(struct db_conn *conn, const char *replica, const json_t *changes,
                  int64_t deadline_ns, struct failure *failure)
{
    /* one statement, so one transaction */
    return execute_with_json(
        conn,
        "WITH changed AS (INSERT INTO toggle (name, value, updated_at) "
        "SELECT key, value, now() FROM jsonb_each_text($2::jsonb) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now()) "
        "INSERT INTO event (replica, kind, detail) VALUES ($1, 'toggle', $2::jsonb)",
        &replica, 1, changes, NULL, deadline_ns, failure);
}

/* Puts what became of the change before the reason. */
static void explain(struct failure *failure, const char *outcome)
{
    struct failure cause = *failure;
    (void)failure_set(failure, cause.kind, "%s: %.300s", outcome, cause.message);
    memcpy(failure->sqlstate, cause.sqlstate, sizeof failure->sqlstate);
}

json_t *toggle_store_change(const struct db_conn_config *database, const char *replica,
                            const json_t *changes, int64_t deadline_ns, struct failure *failure)
{
    json_t *stored = NULL;
    struct db_conn *conn = db_conn_open(database, deadline_ns, -1, failure);
    if (!conn || !limit_statements(conn, deadline_ns, failure)) {
        explain(failure, "nothing was changed");
    } else if (!store(conn, replica, changes, deadline_ns, failure)) {
        /* an error that the server names undid the statement; without one it may have ended well */
        bool undone = failure->sqlstate[0] || failure->kind == FAILURE_WRITE_DEADLINE;
        explain(failure,
                undone ? "nothing was changed" : "it is not known whether anything was changed");
    } else {
        stored = toggle_store_read(conn, deadline_ns, failure);
        if (!stored)
            explain(failure, "the change is stored, and could not be read back");
    }
    db_conn_close(conn);
    return stored;
}

bool event_append(struct db_conn *conn, const char *replica, const char *kind, const json_t *detail,
                  int64_t deadline_ns, struct failure *failure)
{
    return execute_with_json(
        conn, "INSERT INTO event (replica, kind, detail) VALUES ($1, $2, $3::jsonb)",
        (const char *[]){replica, kind}, 2, detail, NULL, deadline_ns, failure);
}

bool event_append_unclean_end(struct db_conn *conn, const char *replica, bool *crashed,
                              int64_t deadline_ns, struct failure *failure)
{
    long rows = 0;
    bool ok = execute_with_json(conn,
                                "INSERT INTO event (replica, kind, detail) SELECT $1, 'crash', "
                                "jsonb_build_object('started', last.at) || $2::jsonb "
                                "FROM (SELECT kind, at FROM event WHERE replica = $1 AND kind IN "
                                "('start', 'stop') ORDER BY id DESC LIMIT 1) last "
                                "WHERE last.kind = 'start'",
                                &replica, 1, NULL, &rows, deadline_ns, failure);
    *crashed = ok && rows > 0;
    return ok;
}

bool event_append_dumps(struct db_conn *conn, const char *replica, const json_t *files,
                        json_t **added, int64_t deadline_ns, struct failure *failure)
{
    char *json = json_dumps(files, JSON_COMPACT);
    PGresult *result = NULL;
    *added = NULL;
    if (!json)
        return failure_set(failure, FAILURE_LIMIT, "out of memory");
    bool ok = db_conn_execute(conn,
                              "INSERT INTO event (replica, kind, detail) "
                              "SELECT $1, 'dump', jsonb_build_object('file', name) "
                              "FROM jsonb_array_elements_text($2::jsonb) WITH ORDINALITY "
                              "AS file (name, position) WHERE NOT EXISTS (SELECT FROM event "
                              "WHERE kind = 'dump' AND replica = $1 AND detail ->> 'file' = name) "
                              "ORDER BY position RETURNING detail ->> 'file'",
                              2, (const char *[]){replica, json}, deadline_ns, &result, failure);
    if (ok)
        *added = json_array();
    for (int i = 0; ok && i < PQntuples(result); i++)
        json_array_append_new(*added, json_string(PQgetvalue(result, i, 0)));
    PQclear(result);
    free(json);
    return ok;
}
