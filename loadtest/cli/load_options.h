/*
 * The options that say which load to send, one table for every command and for POST /v1/runs.
 */
#ifndef FLASHOVER_LOADTEST_CLI_LOAD_OPTIONS_H
#define FLASHOVER_LOADTEST_CLI_LOAD_OPTIONS_H

#include "common/options.h"
#include "loadtest/judge/test_plan.h"
#include "loadtest/judge/verdict.h"

struct load_options {
    const char *url;
    double rate_per_s;
    double duration_s;
    const char *stages;     /* NULL: rate and duration */
    const char *arrivals;   /* "constant", "poisson" */
    struct option_list slo; /* none: SLO_DEFAULT */
    int64_t retries;
    double retry_backoff_s;
    double retry_budget_percent;
    double share_percent; /* of a change alone */
    int64_t closed;       /* callers; 0: open loop */
    double timeout_s;
    int64_t max_in_flight;
    int64_t threads;
    int64_t seed;
    const char *check; /* "auto", "feed", "status" */
    int64_t items;
    const char *admin_url;        /* NULL: the service is not watched */
    const char *admin_token_file; /* or NULL */
};

/* Which commands have an option. */
enum load_option_set {
    LOAD_OPTIONS_RUN = 1,
    LOAD_OPTIONS_MATRIX = 2,
    LOAD_OPTIONS_CAPACITY = 4,
    LOAD_OPTIONS_SERVE = 8,
    LOAD_OPTIONS_CHANGE = 16 /* of a run under way, by PATCH /v1/runs/{id} */
};

#define LOAD_OPTIONS_MAX 24

/* Gives every field its default, writes the options of `set` to `table`, their values pointing into
 * `options`, and returns how many there are. */
size_t load_options_table(struct load_options *options, enum load_option_set set,
                          struct option table[LOAD_OPTIONS_MAX]);

/* Makes a test plan of the options and looks the target up, which may block. EXIT_PASS; EXIT_USAGE
 * or EXIT_TROUBLE with the reason in `why`, which begins with the option's name. */
enum exit_code load_options_resolve(const struct load_options *options, struct test_plan *plan,
                                    char *why, size_t why_size);

#endif
