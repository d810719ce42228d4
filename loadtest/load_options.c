#include "loadtest/load_options.h"

#include "common/check.h"
#include "common/clock.h"

#include <stddef.h>

/* Poisson arrivals are walked through once beforehand. */
#define POISSON_REQUESTS_MAX 100000000

enum {
    RUN = LOAD_OPTIONS_RUN,
    MATRIX = LOAD_OPTIONS_MATRIX,
    CAPACITY = LOAD_OPTIONS_CAPACITY,
    SERVE = LOAD_OPTIONS_SERVE,
    ALL = RUN | MATRIX | CAPACITY
};

static const struct {
    unsigned sets;
    size_t offset;
    struct option option;
} rows[] = {
    {ALL | SERVE,
     offsetof(struct load_options, url),
     {.name = "url",
      .kind = OPTION_TEXT,
      .fallback = "http://127.0.0.1:8080/v1/feeds/{feed}",
      .argument = "URL",
      .help = "target; {feed} becomes a random feed, no path means /v1/feeds/{feed}"}},
    {RUN | MATRIX,
     offsetof(struct load_options, rate_per_s),
     {.name = "rate",
      .kind = OPTION_REAL,
      .fallback = "20",
      .min = 0.01,
      .max = SCHEDULE_RATE_MAX,
      .argument = "N",
      .help = "requests per second, open loop"}},
    {RUN,
     offsetof(struct load_options, duration_s),
     {.name = "duration",
      .kind = OPTION_DURATION,
      .fallback = "10",
      .min = 0.001,
      .max = SCHEDULE_TIME_MAX_S,
      .argument = "TIME",
      .help = "how long requests are sent"}},
    {RUN,
     offsetof(struct load_options, stages),
     {.name = "stages",
      .kind = OPTION_TEXT,
      .argument = "LIST",
      .help = "instead of rate and duration: RATE/TIME or FROM-TO/TIME, as 20/10s,20-60/30s"}},
    {RUN,
     offsetof(struct load_options, arrivals),
     {.name = "arrivals",
      .kind = OPTION_CHOICE,
      .fallback = "constant",
      .choices = "constant|poisson",
      .argument = "HOW",
      .help = "evenly spaced, or at random as independent callers are"}},
    {RUN | CAPACITY,
     offsetof(struct load_options, slo),
     {.name = "slo",
      .kind = OPTION_LIST,
      .argument = "THRESHOLD",
      .help = "p(99)<200, ok>99.9%, …; several by commas or repetition"}},
    {RUN | CAPACITY,
     offsetof(struct load_options, retries),
     {.name = "retries",
      .kind = OPTION_INTEGER,
      .fallback = "0",
      .min = 0,
      .max = 20,
      .argument = "N",
      .help = "further attempts after 502, 503, 504 and lost connections"}},
    {RUN | CAPACITY,
     offsetof(struct load_options, retry_backoff_s),
     {.name = "retry-backoff",
      .kind = OPTION_DURATION,
      .fallback = "100ms",
      .min = 0,
      .max = 60,
      .argument = "TIME",
      .help = "before the first retry; doubled for each further one"}},
    {RUN,
     offsetof(struct load_options, closed),
     {.name = "closed",
      .kind = OPTION_INTEGER,
      .fallback = "0",
      .min = 0,
      .max = 50000,
      .argument = "CALLERS",
      .help = "what a closed-loop tool would do: each caller waits for its answer"}},
    {ALL,
     offsetof(struct load_options, timeout_s),
     {.name = "timeout",
      .kind = OPTION_DURATION,
      .fallback = "5",
      .min = 0.001,
      .max = 60,
      .argument = "TIME",
      .help = "for a whole answer, from the intended start"}},
    {ALL,
     offsetof(struct load_options, max_in_flight),
     {.name = "max-in-flight",
      .kind = OPTION_INTEGER,
      .fallback = "2000",
      .min = 1,
      .max = 50000,
      .argument = "N",
      .help = "requests in flight; what comes on top is counted as dropped"}},
    {ALL,
     offsetof(struct load_options, threads),
     {.name = "threads",
      .kind = OPTION_INTEGER,
      .fallback = "1",
      .min = 1,
      .max = 64,
      .argument = "N",
      .help = "event loops"}},
    {ALL,
     offsetof(struct load_options, seed),
     {.name = "seed",
      .kind = OPTION_INTEGER,
      .fallback = "1",
      .min = 0,
      .max = 1e15,
      .argument = "N",
      .help = "of the feeds asked for, and of poisson arrivals"}},
    {RUN | CAPACITY,
     offsetof(struct load_options, check),
     {.name = "check",
      .kind = OPTION_CHOICE,
      .fallback = "auto",
      .choices = "auto|feed|status",
      .argument = "WHAT",
      .help = "each entry of each answer, or its status; auto: feed where the URL has {feed}"}},
    {ALL,
     offsetof(struct load_options, items),
     {.name = "items",
      .kind = OPTION_INTEGER,
      .fallback = "300",
      .min = 1,
      .max = 1000,
      .argument = "N",
      .help = "entries that a right answer has, where the URL has no ?items="}},
    {ALL | SERVE,
     offsetof(struct load_options, admin_url),
     {.name = "admin-url",
      .kind = OPTION_TEXT,
      .argument = "URL",
      .help = "the service's admin port, for /metrics: crashes, pool, threads"}},
    {ALL | SERVE,
     offsetof(struct load_options, admin_token_file),
     {.name = "admin-token-file",
      .kind = OPTION_TEXT,
      .argument = "FILE",
      .help = "its bearer token"}},
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
        if (schedule_parse(schedule, options->stages, seed, reason, sizeof reason)) {
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
    int failed = 0;
    if (options->slo.count == 0)
        failed = slo_parse(slos, SLO_DEFAULT, reason, sizeof reason);
    for (size_t i = 0; !failed && i < options->slo.count; i++)
        failed = slo_parse(slos, options->slo.values[i], reason, sizeof reason);
    if (failed)
        snprintf(why, why_size, "--slo: %s", reason);
    return failed ? EXIT_USAGE : EXIT_PASS;
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

enum exit_code load_options_resolve(const struct load_options *options,
                                    struct load_settings *settings, char *why, size_t why_size)
{
    char reason[384];
    *settings = (struct load_settings){
        .timeout_ns = (int64_t)(options->timeout_s * (double)CLOCK_NS_PER_S),
        .max_in_flight = (uint64_t)options->max_in_flight,
        .threads = (unsigned)options->threads,
        .items = (uint32_t)options->items,
        .retries = (unsigned)options->retries,
        .retry_backoff_ns = (int64_t)(options->retry_backoff_s * (double)CLOCK_NS_PER_S),
        .closed = (uint64_t)options->closed,
    };
    if (target_parse(&settings->target, options->url, reason, sizeof reason)) {
        snprintf(why, why_size, "--url: '%.128s' %s", options->url, reason);
        return EXIT_USAGE;
    }
    enum exit_code code = set_schedule(options, &settings->schedule, why, why_size);
    if (code == EXIT_PASS)
        code = set_thresholds(options, &settings->slos, why, why_size);
    if (code == EXIT_PASS)
        code = set_check(options, settings, why, why_size);
    if (code != EXIT_PASS)
        return code;
    if (target_resolve(&settings->target, reason, sizeof reason)) {
        snprintf(why, why_size, "--url: %s", reason);
        return EXIT_TROUBLE;
    }
    return EXIT_PASS;
}
