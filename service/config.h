/*
 * The service's options: one table, from which --help is printed and docs/configuration.md is
 * checked.
 */
#ifndef FLASHOVER_CONFIG_H
#define FLASHOVER_CONFIG_H

#include "common/options.h"
#include "service/db_pool.h"
#include "service/toggles.h"

struct config {
    const char *listen, *admin_listen, *admin_token_file;
    const char *database_url, *control_database_url; /* NULL: libpq's PG* variables */
    int64_t pool_size, pool_min, pool_max_connecting, max_waiters;
    const char *prepared_statements; /* "on" or "off" */
    int64_t pool_max_idle_ms, pool_max_lifetime_ms, pool_prove_idle_ms, pool_events;
    const char *dump_dir; /* NULL: nothing is dumped */
    int64_t request_timeout_ms, checkout_timeout_ms;
    double query_latency_ms;
    int64_t items;
    int64_t max_connections, max_threads, thread_stack_kib, fan_out_limit;
    int64_t drain_delay_ms;
    int64_t map_window_us;
    const char *toggles[TOGGLES];
    enum toggle_origin toggle_origins[TOGGLES];

    const char
        *admin_token;    /* read from the file; NULL: none wanted. Lives as long as the process */
    char pool_name[256]; /* HOST:PORT of database_url */
};

/* Reads the options. On anything but
 * OPTIONS_RUN one line on stderr has said why (or --help was printed). What is no option is left in
 * argv[1..*positional_count]. */
enum options_outcome config_read(struct config *config, int argc, char **argv,
                                 int *positional_count);

/* What only serving needs: checks the addresses and the options against each other, and reads the
 * token. False when one line on stderr has said what is wrong: exit with 2. */
bool config_check_serving(struct config *config) __attribute__((warn_unused_result));

/* The pool as the service has it, but for its connector. */
struct db_pool_config config_pool(const struct config *config);

#endif
