#include "service/http_failure.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "service/pool_json.h"

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

/* One line tells all: what failed, and what the pool looked like at that moment. */
static void log_failure(struct service *service, const struct http_request *request,
                        int64_t feed_id, const struct query_outcome *outcome, int ecode)
{
    bool timed_out = outcome->failed_items[FAILURE_CHECKOUT_TIMEOUT] > 0;
    json_t *failures = json_object();
    for (enum failure_kind kind = FAILURE_NONE + 1; kind < FAILURE_KINDS; kind++)
        if (outcome->failed_items[kind] > 0)
            json_object_set_new(failures, failure_name(kind),
                                json_integer(outcome->failed_items[kind]));
    log_line(LOG_ERROR, outcome->failure.message,
             json_pack("{s:i, s:s, s:I, s:I, s:o, s:o}", "ecode", ecode, "request_id", request->id,
                       "feed_id", (json_int_t)feed_id, "waited_ms",
                       (json_int_t)((clock_now_ns() - request->arrived_ns) / CLOCK_NS_PER_MS),
                       "failed_items", failures, "pool",
                       pool_json_look(service->environment.pool,
                                      timed_out ? DB_POOL_AT_LAST_TIMEOUT : DB_POOL_NOW)));
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

void http_mistake_answer(const struct http_request *request, int status, const char *message,
                         struct http_response *response)
{
    http_response_error(request, response, status, -status, message);
}
