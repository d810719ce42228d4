#include "loadtest/cli/load_options.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/option_row.h"

#include <stddef.h>

/* Poisson arrivals are walked through once beforehand. */
#define POISSON_REQUESTS_MAX 100000000

enum {
    RUN = LOAD_OPTIONS_RUN,
    MATRIX = LOAD_OPTIONS_MATRIX,
    CAPACITY = LOAD_OPTIONS_CAPACITY,
    SERVE = LOAD_OPTIONS_SERVE,
    CHANGE = LOAD_OPTIONS_CHANGE,
    ALL = RUN | MATRIX | CAPACITY
};

static const struct {
    unsigned sets;
    size_t offset;
    struct option option;
} rows[] = {
#define LOAD_OPTION(sets, field, ...)                                                              \
    {                                                                                              \
        sets, offsetof(struct load_options, field), __VA_ARGS__                                    \
    }
    LOAD_OPTION(ALL | SERVE, url,
                TEXT_ROW("url", NULL, "http://127.0.0.1:8080/v1/feeds/{feed}", "URL",
                         "target; {feed} becomes a random feed, no path means /v1/feeds/{feed}")),
    LOAD_OPTION(RUN | MATRIX | CHANGE, rate_per_s,
                NUMBER_ROW(REAL, "rate", NULL, "20", 0.01, SCHEDULE_RATE_MAX, "N",
                           "requests per second, open loop")),
    LOAD_OPTION(RUN, duration_s,
                NUMBER_ROW(DURATION, "duration", NULL, "10", 0.001, SCHEDULE_TIME_MAX_S, "TIME",
                           "how long requests are sent")),
    LOAD_OPTION(
        RUN | CHANGE, stages,
        TEXT_ROW("stages", NULL, NULL, "LIST",
                 "instead of rate and duration: RATE/TIME or FROM-TO/TIME, as 20/10s,20-60/30s")),
    LOAD_OPTION(RUN | CHANGE, arrivals,
                CHOICE_ROW("arrivals", NULL, "constant", "constant|poisson", "HOW",
                           "evenly spaced, or at random as independent callers are")),
    LOAD_OPTION(RUN | CAPACITY, slo,
                LIST_ROW("slo", NULL, "THRESHOLD",
                         "p(99)<200, ok>99.9%, …; several by commas or repetition")),
    LOAD_OPTION(RUN | CAPACITY | CHANGE, retries,
                NUMBER_ROW(INTEGER, "retries", NULL, "0", 0, 20, "N",
                           "further attempts after 502, 503, 504 and lost connections")),
    LOAD_OPTION(RUN | CAPACITY, retry_backoff_s,
                NUMBER_ROW(DURATION, "retry-backoff", NULL, "100ms", 0, 60, "TIME",
                           "before the first retry; doubled for each further one")),
    LOAD_OPTION(RUN | CAPACITY | CHANGE, retry_budget_percent,
                NUMBER_ROW(REAL, "retry-budget", NULL, "2000", 0, LOAD_RETRY_BUDGET_NONE, "PERCENT",
                           "retries for each 100 requests; 2000: as many as --retries allows")),
    LOAD_OPTION(CHANGE, share_percent,
                NUMBER_ROW(REAL, "share", NULL, "100", 1, 100, "PERCENT",
                           "of the requests that the schedule has, so many are sent")),
    LOAD_OPTION(RUN, closed,
                NUMBER_ROW(INTEGER, "closed", NULL, "0", 0, 50000, "CALLERS",
                           "what a closed-loop tool would do: each caller waits for its answer")),
    LOAD_OPTION(ALL, timeout_s,
                NUMBER_ROW(DURATION, "timeout", NULL, "5", 0.001, 60, "TIME",
                           "for a whole answer, from the intended start")),
    LOAD_OPTION(ALL, max_in_flight,
                NUMBER_ROW(INTEGER, "max-in-flight", NULL, "2000", 1, 50000, "N",
                           "requests in flight; what comes on top is counted as dropped")),
    LOAD_OPTION(ALL, threads, NUMBER_ROW(INTEGER, "threads", NULL, "1", 1, 64, "N", "event loops")),
    LOAD_OPTION(ALL | CHANGE, seed,
                NUMBER_ROW(INTEGER, "seed", NULL, "1", 0, 1e15, "N",
                           "of the feeds asked for, and of poisson arrivals")),
    LOAD_OPTION(
        RUN | CAPACITY, check,
        CHOICE_ROW(
            "check", NULL, "auto", "auto|feed|status", "WHAT",
            "each entry of each answer, or its status; auto: feed where the URL has {feed}")),
    LOAD_OPTION(ALL | CHANGE, items,
                NUMBER_ROW(INTEGER, "items", NULL, "300", 1, 1000, "N",
                           "entries that a right answer has, where the URL has no ?items=")),
    LOAD_OPTION(ALL | SERVE, admin_url,
                TEXT_ROW("admin-url", NULL, NULL, "URL",
                         "the service's admin port, for /metrics: crashes, pool, threads")),
    LOAD_OPTION(ALL | SERVE, admin_token_file,
                TEXT_ROW("admin-token-file", NULL, NULL, "FILE", "its bearer token")),
#undef LOAD_OPTION
};

static_assert(sizeof rows / sizeof rows[0] <= LOAD_OPTIONS_MAX, "the caller's table has room");

size_t load_options_table(struct load_options *options, enum load_option_set set,
                          struct option table[LOAD_OPTIONS_MAX])
{
    size_t count = 0;
    *options = (struct load_options){.rate_per_s = 20,
                                     .duration_s = 10,
                                     .arrivals = "constant",
                                     .retry_backoff_s = 0.1,
                                     .retry_budget_percent = LOAD_RETRY_BUDGET_NONE,
                                     .check = "auto"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!(rows[i].sets & (unsigned)set))
            continue;
        table[count] = rows[i].option;
        table[count++].value = (char *)options + rows[i].offset;
    }
    return count;
}

static enum exit_code set_schedule(const struct load_options *options, struct schedule *schedule,
                                   char *why, size_t why_size)
{
    char reason[256];
    uint64_t seed = (uint64_t)options->seed;
    if (options->stages && options->closed) {
        snprintf(why, why_size, "--stages: a closed loop has no rate to follow");
        return EXIT_USAGE;
    }
    if (options->closed > options->max_in_flight) {
        snprintf(why, why_size, "--closed: '%lld' callers are more than --max-in-flight %lld",
                 (long long)options->closed, (long long)options->max_in_flight);
        return EXIT_USAGE;
    }
    if (options->stages) {
        if (!schedule_parse(schedule, options->stages, seed, reason, sizeof reason)) {
            snprintf(why, why_size, "--stages: %s", reason);
            return EXIT_USAGE;
        }
    } else if (!options->closed && options->rate_per_s * options->duration_s < 1) {
        snprintf(why, why_size, "--duration: '%g' at --rate %g is less than one request",
                 options->duration_s, options->rate_per_s);
        return EXIT_USAGE;
    } else {
        schedule_init(schedule, options->rate_per_s, options->duration_s, seed);
    }
    if (strcmp(options->arrivals, "constant") == 0)
        return EXIT_PASS;
    if (schedule->count > POISSON_REQUESTS_MAX) {
        snprintf(why, why_size, "--arrivals: 'poisson' is for at most %d requests, not %llu",
                 POISSON_REQUESTS_MAX, (unsigned long long)schedule->count);
        return EXIT_USAGE;
    }
    schedule_set_arrivals(schedule, ARRIVALS_POISSON);
    return EXIT_PASS;
}

static enum exit_code set_thresholds(const struct load_options *options, struct slo_list *slos,
                                     char *why, size_t why_size)
{
    char reason[256];
    bool parsed = true;
    if (options->slo.count == 0)
        parsed = slo_parse(slos, SLO_DEFAULT, reason, sizeof reason);
    for (size_t i = 0; parsed && i < options->slo.count; i++)
        parsed = slo_parse(slos, options->slo.values[i], reason, sizeof reason);
    if (!parsed)
        snprintf(why, why_size, "--slo: %s", reason);
    return parsed ? EXIT_PASS : EXIT_USAGE;
}

static enum exit_code set_check(const struct load_options *options, struct load_settings *settings,
                                char *why, size_t why_size)
{
    bool has_feed = settings->target.has_feed;
    if (strcmp(options->check, "feed") == 0 && !has_feed) {
        snprintf(why, why_size, "--check: 'feed' needs {feed} in --url, or else status");
        return EXIT_USAGE;
    }
    if (has_feed && strcmp(options->check, "status") != 0)
        settings->check = LOAD_CHECK_FEED;
    if (settings->target.items)
        settings->items = settings->target.items;
    return EXIT_PASS;
}

enum exit_code load_options_resolve(const struct load_options *options, struct test_plan *plan,
                                    char *why, size_t why_size)
{
    struct load_settings *load = &plan->load;
    char reason[384];
    plan->slos = (struct slo_list){0};
    *load = (struct load_settings){
        .timeout_ns = (int64_t)(options->timeout_s * (double)CLOCK_NS_PER_S),
        .max_in_flight = (uint64_t)options->max_in_flight,
        .threads = (unsigned)options->threads,
        .items = (uint32_t)options->items,
        .retries = (unsigned)options->retries,
        .retry_backoff_ns = (int64_t)(options->retry_backoff_s * (double)CLOCK_NS_PER_S),
        .retry_budget_percent = options->retry_budget_percent,
        .closed = (uint64_t)options->closed,
    };
    if (!target_parse(&load->target, options->url, reason, sizeof reason)) {
        char shown[129];
        target_show(options->url, shown, sizeof shown);
        snprintf(why, why_size, "--url: '%s' %s", shown, reason);
        return EXIT_USAGE;
    }
    enum exit_code code = set_schedule(options, &load->schedule, why, why_size);
    if (code == EXIT_PASS)
        code = set_thresholds(options, &plan->slos, why, why_size);
    if (code == EXIT_PASS)
        code = set_check(options, load, why, why_size);
    if (code != EXIT_PASS)
        return code;
    if (!target_resolve(&load->target, reason, sizeof reason)) {
        snprintf(why, why_size, "--url: %s", reason);
        return EXIT_TROUBLE;
    }
    return EXIT_PASS;
}
