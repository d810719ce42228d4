/*
 * A load against a stall server, for a selftest: server up, load sent by the same engine as `run`,
 * server down, and both sides' books.
 */
#ifndef FLASHOVER_LOADTEST_SELFTEST_LOAD_H
#define FLASHOVER_LOADTEST_SELFTEST_LOAD_H

#include "loadtest/engine/load_run.h"
#include "loadtest/selftest/stall_server.h"
#include "loadtest/selftest/table.h"

struct selftest_load {
    const struct stall_scene *scene;
    double rate_per_s;
    double duration_s;
    double timeout_s;
    enum arrivals arrivals;
    uint64_t seed;
    uint64_t max_in_flight; /* 0: 2000, as `run` has it */
    unsigned threads;       /* 0: 1 */
    uint64_t closed;        /* callers; 0: open loop */
    unsigned retries;
    double stop_after_s; /* gives up what is in flight then; 0: the load ends by itself */
    bool keeps_record;   /* of each request, by the server */
};

#define SELFTEST_LOADS_MAX 4

struct selftest_run {
    const struct stall_scene *scene; /* of the load; borrowed */
    struct load_settings settings;
    struct load_result result;         /* owned */
    struct stall_server *server;       /* owned */
    const struct stall_record *record; /* of `server`, which is down */
};

/* The engine's settings for `load` against a server at `port`. False with the reason in `why`. */
bool selftest_load_settings(const struct selftest_load *load, uint16_t port,
                            struct load_settings *settings, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* Sends `load`. What the generator says against itself goes to table->invalid, what the machine
 * did to table->disturbed_ns. False when it could not be done or `stop` was requested: a row in
 * `table` then names the reason. selftest_run_free() after true. */
bool selftest_load_run(const struct selftest_load *load, const struct stop *stop,
                       struct selftest_table *table, struct selftest_run *run)
    __attribute__((warn_unused_result));

/* Sends `count` loads at the same time, each to a server of its own. All of them, or false and
 * none. */
bool selftest_load_run_all(const struct selftest_load *loads, size_t count, const struct stop *stop,
                           struct selftest_table *table, struct selftest_run *runs)
    __attribute__((warn_unused_result));

void selftest_run_free(struct selftest_run *run);

/* Percentile and mean of a histogram, in ms. */
double selftest_percentile_ms(const struct histogram *histogram, double percent);
double selftest_mean_ms(const struct histogram *histogram);

/* Rows for T9: so many wrong answers with these defects, by the load tester and by the server. */
void selftest_compare_defects(struct selftest_table *table, uint64_t wrong,
                              const struct feed_defects *expected, const struct selftest_run *run);

/* How many of its values are longer, as far as its counters tell them apart. */
uint64_t selftest_longer_than(const struct histogram *histogram, int64_t value_us);

#endif
