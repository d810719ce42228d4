/*
 * The body of POST /v1/runs, up to the options that come of it. Input: the body.
 */
#include "loadtest/serve/run_request.h"

#include "common/text.h"
#include "tests/fuzz/input.h"

#include <stdlib.h>

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
    free(body);
    return 0;
}
