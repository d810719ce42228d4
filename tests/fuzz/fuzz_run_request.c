/*
 * The body of POST /v1/runs, and of PATCH, up to the options that come of it. Input: the body.
 */
#include "loadtest/serve/run_request.h"

#include "common/text.h"
#include "tests/fuzz/input.h"

#include <stdlib.h>

/* The same body as a change of a run under way. */
static void parse_as_change(const char *body, size_t size_bytes)
{
    struct run_request request;
    struct load_change change;
    char why[RUN_REQUEST_WHY_SIZE] = "";
    if (run_request_parse_change(&request, &change, body, size_bytes, why)) {
        assert(change.stages || change.has_rate || change.has_arrivals || change.has_items ||
               change.has_retries || change.has_retry_budget || change.has_share ||
               change.has_seed);
        assert(change.share_percent >= 1 && change.share_percent <= 100);
        assert(change.rate_per_s >= 0.01 && change.rate_per_s <= 1e6);
        assert(change.items >= 1 && change.items <= 1000 && change.retries <= 20);
        assert(change.retry_budget_percent >= 0 &&
               change.retry_budget_percent <= LOAD_RETRY_BUDGET_NONE);
    } else {
        assert(why[0] && text_is_utf8(why, strlen(why)));
    }
    run_request_clear(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    struct run_request request;
    char why[RUN_REQUEST_WHY_SIZE] = "";
    char *body = fuzz_string(&input);
    if (run_request_parse(&request, body, input.left, "http://127.0.0.1/", why)) {
        const struct load_options *options = &request.options;
        assert(json_is_object(request.body) && options->url);
        assert(options->rate_per_s >= 0.01 && options->rate_per_s <= 1e6);
        assert(options->retries >= 0 && options->retries <= 20);
        assert(options->threads >= 1 && options->threads <= 64);
        assert(options->items >= 1 && options->items <= 1000);
    } else {
        size_t size = strlen(why);
        assert(size > 0 && size < sizeof why && text_is_utf8(why, size) && !strchr(why, '\n'));
    }
    run_request_clear(&request);
    parse_as_change(body, input.left);
    free(body);
    return 0;
}
