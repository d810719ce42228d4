/*
 * The subcommands of the load tester. Each takes its own argv (argv[0] is its name), prints its
 * report on stdout and everything else on stderr, and returns the exit status.
 */
#ifndef FLASHOVER_LOADTEST_COMMAND_H
#define FLASHOVER_LOADTEST_COMMAND_H

#include "loadtest/load_worker.h"
#include "loadtest/stop.h"

/* Dispatches argv[1]. `stop` is what signals ask. */
int command_dispatch(int argc, char **argv, struct stop *stop);

int command_run(int argc, char **argv, struct stop *stop);
int command_matrix(int argc, char **argv, struct stop *stop);

/* The options that say which load to send; the same in both commands. */
struct command_load_options {
    const char *url;
    double rate_per_s;
    double duration_s;
    double timeout_s;
    int64_t max_in_flight;
    int64_t threads;
    int64_t seed;
    int64_t items;
    const char *check; /* "auto", "feed", "status" */
};

/* Fills `settings` and resolves the target; one line on stderr when that fails. Returns 0, or the
 * exit status. */
int command_settings(const char *program, const struct command_load_options *options,
                     struct load_settings *settings);

/* The rows that both commands have in their option tables, for a `struct command_load_options` of
 * the name `o`. */
#define COMMAND_URL_ROW(o)                                                                         \
    {                                                                                              \
        .name = "url", .kind = OPTION_TEXT, .value = &(o).url,                                     \
        .fallback = "http://127.0.0.1:8080/v1/feeds/{feed}", .argument = "URL",                    \
        .help = "target; {feed} becomes a random feed, no path means /v1/feeds/{feed}"             \
    }
#define COMMAND_RATE_ROW(o)                                                                        \
    {                                                                                              \
        .name = "rate", .kind = OPTION_REAL, .value = &(o).rate_per_s, .fallback = "20",           \
        .min = 0.01, .max = 1e6, .argument = "N", .help = "requests per second, open loop"         \
    }
#define COMMAND_TIMEOUT_ROW(o)                                                                     \
    {                                                                                              \
        .name = "timeout", .kind = OPTION_DURATION, .value = &(o).timeout_s, .fallback = "5",      \
        .min = 0.001, .max = 60, .argument = "TIME",                                               \
        .help = "for a whole answer, from the intended start"                                      \
    }
#define COMMAND_IN_FLIGHT_ROW(o)                                                                   \
    {                                                                                              \
        .name = "max-in-flight", .kind = OPTION_INTEGER, .value = &(o).max_in_flight,              \
        .fallback = "2000", .min = 1, .max = 50000, .argument = "N",                               \
        .help = "requests in flight; what comes on top is counted as dropped"                      \
    }
#define COMMAND_THREADS_ROW(o)                                                                     \
    {                                                                                              \
        .name = "threads", .kind = OPTION_INTEGER, .value = &(o).threads, .fallback = "1",         \
        .min = 1, .max = 64, .argument = "N", .help = "event loops"                                \
    }
#define COMMAND_SEED_ROW(o)                                                                        \
    {                                                                                              \
        .name = "seed", .kind = OPTION_INTEGER, .value = &(o).seed, .fallback = "1", .min = 0,     \
        .max = 1e15, .argument = "N", .help = "of the feeds asked for"                             \
    }
#define COMMAND_ITEMS_ROW(o)                                                                       \
    {                                                                                              \
        .name = "items", .kind = OPTION_INTEGER, .value = &(o).items, .fallback = "300", .min = 1, \
        .max = 1000, .argument = "N",                                                              \
        .help = "entries that a right answer has, where the URL has no ?items="                    \
    }

#endif
