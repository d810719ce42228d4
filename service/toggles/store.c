#include "service/toggles/store.h"

#include "common/check.h"
#include "common/clock.h"

#include <inttypes.h>

/* of a number of seconds, as text */
#define AGE_SIZE 32

#define READ_SQL(table) "SELECT name, value FROM " table

/* One statement, so one transaction. */
#define CHANGE_SQL(table)                                                                          \
    "WITH given AS (SELECT key, value FROM jsonb_each_text($2::jsonb)), "                          \
    "removed AS (DELETE FROM " table " WHERE name IN "                                             \
    "(SELECT key FROM given WHERE value IS NULL)), "                                               \
    "changed AS (INSERT INTO " table " (name, value, updated_at) "                                 \
    "SELECT key, value, now() FROM given WHERE value IS NOT NULL "                                 \
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now()) "                \
    "INSERT INTO event (replica, kind, detail) VALUES ($1, '" table "', $2::jsonb)"

static const char *const read_sql[] = {
    [STORE_TOGGLE] = READ_SQL("toggle"), [STORE_SETTING] = READ_SQL("setting")};
static const char *const change_sql[] = {
    [STORE_TOGGLE] = CHANGE_SQL("toggle"), [STORE_SETTING] = CHANGE_SQL("setting")};

/* A schema of before the table of settings stores none. */
json_t *store_read(struct db_conn *conn, enum store_table table, int64_t deadline_ns,
                   struct failure *failure)
{
    PGresult *result;
    bool ok = db_conn_execute(conn, read_sql[table], 0, NULL, deadline_ns, &result, failure);
    bool is_missing = !ok && table == STORE_SETTING && strcmp(failure->sqlstate, "42P01") == 0;
    if (!ok && !is_missing)
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

bool event_limit_statements(struct db_conn *conn, int64_t deadline_ns, struct failure *failure)
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

/* Puts what became of the change before the reason. */
static void explain(struct failure *failure, const char *outcome)
{
    struct failure cause = *failure;
    (void)failure_set(failure, cause.kind, "%s: %.300s", outcome, cause.message);
    memcpy(failure->sqlstate, cause.sqlstate, sizeof failure->sqlstate);
}

json_t *store_change(const struct db_conn_config *database, enum store_table table,
                     const char *replica, const json_t *changes, int64_t deadline_ns,
                     struct failure *failure)
{
    assert(json_is_object(changes));
    json_t *stored = NULL;
    struct db_conn *conn = db_conn_open(database, deadline_ns, -1, failure);
    if (!conn || !event_limit_statements(conn, deadline_ns, failure)) {
        explain(failure, "nothing was changed");
    } else if (!execute_with_json(conn, change_sql[table], &replica, 1, changes, NULL, deadline_ns,
                                  failure)) {
        /* an error that the server names undid the statement; without one it may have ended well */
        bool undone = failure->sqlstate[0] || failure->kind == FAILURE_WRITE_DEADLINE;
        explain(failure,
                undone ? "nothing was changed" : "it is not known whether anything was changed");
    } else {
        stored = store_read(conn, table, deadline_ns, failure);
        if (!stored)
            explain(failure, "the change is stored, and could not be read back");
    }
    db_conn_close(conn);
    return stored;
}

/* How long ago it was, for the server's clock to count back. */
static void write_age(int64_t at_ns, char text[AGE_SIZE])
{
    int64_t age_ns = clock_now_ns() - at_ns;
    snprintf(text, AGE_SIZE, "%.6f", (double)(age_ns > 0 ? age_ns : 0) / CLOCK_NS_PER_S);
}

bool event_append(struct db_conn *conn, const char *replica, const char *kind, const json_t *detail,
                  int64_t at_ns, int64_t deadline_ns, struct failure *failure)
{
    char age_s[AGE_SIZE];
    write_age(at_ns, age_s);
    return execute_with_json(conn,
                             "INSERT INTO event (replica, kind, at, detail) VALUES "
                             "($1, $2, now() - make_interval(secs => $3), $4::jsonb)",
                             (const char *[]){replica, kind, age_s}, 3, detail, NULL, deadline_ns,
                             failure);
}

/* The last start, crash or stop of a replica: what its present life is held against. */
#define LAST_OF_LIFE                                                                               \
    "(SELECT kind, at, detail FROM event WHERE replica = $1 AND kind IN ('start', 'crash', "       \
    "'stop') ORDER BY id DESC LIMIT 1)"

bool event_append_unclean_end(struct db_conn *conn, const char *replica, const char *life,
                              int64_t at_ns, bool *crashed, int64_t deadline_ns,
                              struct failure *failure)
{
    long rows = 0;
    char age_s[AGE_SIZE];
    write_age(at_ns, age_s);
    bool ok = execute_with_json(
        conn,
        "INSERT INTO event (replica, kind, at, detail) SELECT $1, 'crash', "
        "now() - make_interval(secs => $2), jsonb_build_object('started', last.at) || $4::jsonb "
        "FROM " LAST_OF_LIFE " last "
        "WHERE last.kind = 'start' AND last.detail ->> 'life' IS DISTINCT FROM $3",
        (const char *[]){replica, age_s, life}, 3, NULL, &rows, deadline_ns, failure);
    *crashed = ok && rows > 0;
    return ok;
}

bool event_append_start(struct db_conn *conn, const char *replica, const json_t *detail,
                        int64_t at_ns, int64_t deadline_ns, struct failure *failure)
{
    char age_s[AGE_SIZE];
    assert(json_is_string(json_object_get(detail, "life")));
    write_age(at_ns, age_s);
    return execute_with_json(
        conn,
        "INSERT INTO event (replica, kind, at, detail) SELECT $1, 'start', "
        "now() - make_interval(secs => $2), $3::jsonb WHERE NOT EXISTS (SELECT "
        "FROM " LAST_OF_LIFE " last WHERE last.detail ->> 'life' = $3::jsonb ->> 'life')",
        (const char *[]){replica, age_s}, 2, detail, NULL, deadline_ns, failure);
}

bool event_append_dumps(struct db_conn *conn, const char *replica, const json_t *files,
                        json_t **added, int64_t deadline_ns, struct failure *failure)
{
    assert(json_array_size(files) > 0);
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
