#include "service/http/http_failure.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "service/http/pool_json.h"

/* A caller that was turned away for lack of room may try again after this. */
#define RETRY_AFTER_S 1

struct answer {
    int status;
    int ecode;
    bool retry_after;
};

/* The contract's table of errors. */
static const struct answer answers[FAILURE_KINDS] = {
    [FAILURE_NONE] = {500, -500, false},
    [FAILURE_CHECKOUT_TIMEOUT] = {503, -500, true},
    [FAILURE_WRITE_DEADLINE] = {504, -500, false},
    [FAILURE_READ_DEADLINE] = {504, -500, false},
    [FAILURE_REQUEST_DEADLINE] = {504, -504, false},
    [FAILURE_LIMIT] = {503, -503, true},
    [FAILURE_UNAVAILABLE] = {503, -503, false},
    [FAILURE_DATABASE] = {502, -502, false},
    [FAILURE_INCOMPLETE] = {500, -500, false},
    [FAILURE_NOT_FOUND] = {404, -404, false},
    [FAILURE_CALLED_OFF] = {500, -500, false}, /* never decides: an earlier failure does */
};

static json_t *describe_failed_items(const struct query_outcome *outcome)
{
    json_t *failures = json_object();
    for (enum failure_kind kind = FAILURE_NONE + 1; kind < FAILURE_KINDS; kind++)
        if (outcome->failed_items[kind] > 0)
            json_object_set_new(failures, failure_name(kind),
                                json_integer(outcome->failed_items[kind]));
    return failures;
}

/* One line holds all: what failed, and what the pool looked like at that moment. The whole view of
 * the pool takes kilobytes, so it is in one line a second; the others have its verdict. */
static void log_failure(struct service *service, const struct http_request *request,
                        int64_t feed_id, const struct query_outcome *outcome, int ecode)
{
    bool timed_out = outcome->failed_items[FAILURE_CHECKOUT_TIMEOUT] > 0;
    enum db_pool_moment moment = timed_out ? DB_POOL_AT_LAST_TIMEOUT : DB_POOL_NOW;
    struct db_pool *pool = service->environment.pool;
    uint64_t left_out;
    uint64_t short_lines;
    if (!log_limit_take(&service->failure_lines, &left_out))
        return;
    bool is_whole = log_limit_take(&service->diagnoses, &short_lines);
    json_t *fields =
        json_pack("{s:i, s:s, s:I, s:I, s:o, s:o}", "ecode", ecode, "request_id", request->id,
                  "feed_id", (json_int_t)feed_id, "waited_ms",
                  (json_int_t)((clock_now_ns() - request->arrived_ns) / CLOCK_NS_PER_MS),
                  "failed_items", describe_failed_items(outcome), "pool",
                  is_whole ? pool_json_view(pool, moment) : pool_json_verdict(pool, moment));
    if (left_out > 0 && fields)
        json_object_set_new(fields, "left_out", json_integer((json_int_t)left_out));
    log_line(LOG_ERROR, outcome->failure.message, fields);
}

void http_failure_answer(struct service *service, const struct http_request *request,
                         int64_t feed_id, const struct query_outcome *outcome,
                         struct http_response *response)
{
    enum failure_kind kind = outcome->failure.kind;
    const struct answer *answer = &answers[kind];
    assert(kind != FAILURE_NONE);
    atomic_fetch_add(&service->metrics.request_failures[kind], 1);
    http_response_error(request, response, answer->status, answer->ecode, outcome->failure.message);
    if (answer->retry_after)
        response->retry_after_s = RETRY_AFTER_S;
    if (kind != FAILURE_NOT_FOUND)
        log_failure(service, request, feed_id, outcome, answer->ecode);
}
