/*
 * The body of POST /v1/runs and of PATCH /v1/runs/{id}: a JSON object whose keys are options of
 * `loadtest run`, held against the same table.
 */
#ifndef FLASHOVER_LOADTEST_SERVE_RUN_REQUEST_H
#define FLASHOVER_LOADTEST_SERVE_RUN_REQUEST_H

#include "loadtest/cli/load_options.h"
#include "loadtest/plan/segments.h"

#include <jansson.h>

#define RUN_REQUEST_WHY_SIZE 512

struct run_request {
    struct load_options options; /* point into `body` and `texts` */
    json_t *body;                /* as it was sent; owned */
    json_t *texts;               /* numbers as the command line would have them; owned */
};

/* Reads the body. What it does not name has its default; `url` has default_url, which must outlive
 * the request. Where the service is watched and with which token is not the caller's to say: those
 * two options are no keys. False with one line in `why` that names the key and its range;
 * `request` is to be cleared in either case. */
bool run_request_parse(struct run_request *request, const char *body, size_t size_bytes,
                       const char *default_url, char why[RUN_REQUEST_WHY_SIZE])
    __attribute__((warn_unused_result));

/* The same for a change of a run under way: what it does not name stays, and it names something.
 * `change` has no limits. */
bool run_request_parse_change(struct run_request *request, struct load_change *change,
                              const char *body, size_t size_bytes, char why[RUN_REQUEST_WHY_SIZE])
    __attribute__((warn_unused_result));

void run_request_clear(struct run_request *request);

#endif
