#include "service/http/pool_json.h"

#include "common/check.h"
#include "common/clock.h"

#include <errno.h>
#include <unistd.h>

static json_int_t ms(int64_t ns)
{
    return (json_int_t)(ns / CLOCK_NS_PER_MS);
}

/* A message that was cut short may end within a letter, and an address may be in any letters: what
 * is not UTF-8 would be refused, and with it the whole document. */
static json_t *make_string(const char *text)
{
    char clean[FAILURE_MESSAGE_SIZE];
    text_one_line(text, clean, sizeof clean);
    return json_string(clean);
}

static json_t *describe_holder(const struct db_holder *holder, int64_t now_ns)
{
    static const char *const states[] = {[DB_CONN_IDLE] = "none",
                                         [DB_CONN_IN_TRANSACTION] = "in transaction",
                                         [DB_CONN_BUSY] = "active",
                                         [DB_CONN_BROKEN] = "broken",
                                         [DB_CONN_OUTDATED] = "outdated"};
    return json_pack("{s:I, s:i, s:I, s:b, s:s, s:I, s:s, s:s, s:s}", "connection_id",
                     (json_int_t)holder->connection_id, "backend_pid", holder->backend_pid,
                     "thread", (json_int_t)holder->tid, "thread_alive", holder->is_alive,
                     "request_id", holder->request, "age_ms", ms(now_ns - holder->since_ns),
                     "query", holder->query, "transaction", states[holder->state], "call_site",
                     holder->call_site);
}

static json_t *describe_counts(const struct db_pool_counts *counts)
{
    unsigned total =
        counts->idle + counts->in_use + counts->connecting + counts->draining + counts->closing;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "max", (json_int_t)counts->max,
                     "total", (json_int_t)total, "idle", (json_int_t)counts->idle, "used",
                     (json_int_t)counts->in_use, "connecting", (json_int_t)counts->connecting,
                     "draining", (json_int_t)counts->draining, "closing",
                     (json_int_t)counts->closing, "waiting", (json_int_t)counts->waiting);
}

static json_t *describe_connect_failure(const struct db_pool_view *view)
{
    if (view->connect_failure.kind == FAILURE_NONE)
        return json_null();
    return json_pack("{s:o, s:s, s:I, s:I}", "error", make_string(view->connect_failure.message),
                     "sqlstate", view->connect_failure.sqlstate, "age_ms",
                     ms(view->at_ns - view->connect_failure_ns), "failures_in_a_row",
                     (json_int_t)view->connect_failures);
}

static json_t *describe(const struct db_pool_view *view)
{
    json_t *holders = json_array();
    for (unsigned i = 0; i < view->holder_count; i++)
        json_array_append_new(holders, describe_holder(&view->holders[i], view->at_ns));
    return json_pack("{s:I, s:s, s:I, s:o, s:I, s:o, s:s, s:o, s:o}", "age_ms",
                     ms(clock_now_ns() - view->at_ns), "state",
                     db_pool_state_name(view->counts.state), "generation",
                     (json_int_t)view->counts.generation, "counts", describe_counts(&view->counts),
                     "waited_ms", ms(view->waited_ns), "last_connect_error",
                     describe_connect_failure(view), "verdict", db_pool_verdict_name(view->verdict),
                     "evidence", make_string(view->evidence), "holders", holders);
}

/* A new reference; NULL without memory. */
static json_t *examine(struct db_pool *pool, enum db_pool_moment moment,
                       json_t *(*describe_view)(const struct db_pool_view *view))
{
    struct db_pool_view view;
    struct db_holder *holders = calloc(db_pool_count(pool).max, sizeof *holders);
    if (!holders)
        return NULL;
    db_pool_examine(pool, moment, holders, &view);
    json_t *document = view.at_ns ? describe_view(&view) : json_null();
    free(holders);
    return document;
}

json_t *pool_json_view(struct db_pool *pool, enum db_pool_moment moment)
{
    return examine(pool, moment, describe);
}

static json_t *describe_verdict(const struct db_pool_view *view)
{
    return json_pack("{s:s, s:I}", "verdict", db_pool_verdict_name(view->verdict), "waited_ms",
                     ms(view->waited_ns));
}

json_t *pool_json_verdict(struct db_pool *pool, enum db_pool_moment moment)
{
    return examine(pool, moment, describe_verdict);
}

static void add_event(const struct db_pool_event *event, const char *address, struct text *out)
{
    char time[CLOCK_UTC_SIZE];
    clock_format_utc_at(event->at_ns, time);
    text_addf(out, "{\"time\":\"%s\",\"event\":\"%s\",\"address\":", time,
              db_pool_event_name(event->type));
    text_add_json_string(out, address, strlen(address));
    if (event->connection_id)
        text_addf(out, ",\"connectionId\":%u", event->connection_id);
    if (event->type == CONNECTION_READY || event->type == CHECKED_OUT ||
        event->type == CHECK_OUT_FAILED)
        text_addf(out, ",\"durationMS\":%.3f",
                  (double)event->duration_ns / (double)CLOCK_NS_PER_MS);
    if (event->reason != REASON_NONE)
        text_addf(out, ",\"reason\":\"%s\"", db_pool_reason_name(event->reason));
    if (event->type == POOL_CLEARED)
        text_addf(out, ",\"interruptInUseConnections\":%s", event->interrupt ? "true" : "false");
    text_addf(out, ",\"thread\":%ld", event->tid);
    if (event->request[0]) {
        text_add(out, ",\"request_id\":");
        text_add_json_string(out, event->request, strlen(event->request));
    }
    text_add(out, "}\n");
}

bool pool_json_events(struct db_pool *pool, const char *address, struct text *out)
{
    struct db_pool_event *events;
    size_t count = db_pool_events(pool, &events);
    for (size_t i = 0; i < count; i++)
        add_event(&events[i], address, out);
    bool ok = events != NULL && !out->failed;
    free(events);
    return ok;
}

bool pool_json_dump_events(struct db_pool *pool, const char *address, const char *dir, char *path,
                           size_t path_size)
{
    struct text events = {0};
    char time[CLOCK_UTC_SIZE];
    if (!pool_json_events(pool, address, &events)) {
        text_clear(&events);
        errno = ENOMEM;
        return false;
    }
    clock_format_utc(time);
    snprintf(path, path_size, "%s/pool-events-%s.jsonl", dir, time);
    FILE *file = fopen(path, "wxe");
    bool ok = file && fwrite(events.data, 1, events.size_bytes, file) == events.size_bytes;
    if (file && fclose(file) != 0)
        ok = false;
    if (file && !ok)
        unlink(path);
    text_clear(&events);
    return ok;
}
