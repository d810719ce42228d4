#include "loadtest/cli/command.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/descriptors.h"
#include "common/http/token.h"
#include "common/log.h"
#include "common/option_row.h"
#include "common/options.h"
#include "loadtest/serve/api.h"

#include <signal.h>
#include <unistd.h>

#define PROGRAM "loadtest serve"
/* From the signal to the end: the run's books first, then the clients of its last event. */
#define STOP_RUN_NS     (8 * CLOCK_NS_PER_S)
#define STOP_CLIENTS_NS (2 * CLOCK_NS_PER_S)
#define MAX_CONNECTIONS 100
/* of the process: files, a load of its own. */
#define OTHER_DESCRIPTORS 256
#define MAX_BODY_BYTES    65536

struct serve_options {
    struct load_options load; /* url, admin_url, admin_token_file */
    const char *listen;
    const char *token_file;
    struct option_list allowed;
    const char *runs_dir;
    int64_t keep_runs;
    struct api_limits limits;
    struct target own; /* of load.url */
    struct target_list targets;
    char token[HTTP_TOKEN_SIZE];
};

static bool parse(int argc, char **argv, struct serve_options *options, enum exit_code *status)
{
    struct option table[LOAD_OPTIONS_MAX + 8];
    size_t count = load_options_table(&options->load, LOAD_OPTIONS_SERVE, table);
    const struct option own[] = {
        TEXT_ROW("listen", &options->listen, "127.0.0.1:8090", "HOST:PORT",
                 "where runs can be started"),
        TEXT_ROW("token-file", &options->token_file, NULL, "FILE",
                 "bearer token that callers must have; required off loopback"),
        LIST_ROW("allow-target", &options->allowed, "HOST:PORT",
                 "where runs may be sent to; several by repetition; none: the host of --url"),
        TEXT_ROW("runs-dir", &options->runs_dir, "runs", "DIR",
                 "where runs are kept, one JSON file each"),
        NUMBER_ROW(INTEGER, "keep-runs", &options->keep_runs, "200", 1, 10000, "N",
                   "how many are kept; the oldest are removed"),
        NUMBER_ROW(REAL, "max-rate", &options->limits.max_per_s, "1000000", 0.01, SCHEDULE_RATE_MAX,
                   "N", "highest rate of a run, retries included, in requests a second"),
        NUMBER_ROW(DURATION, "max-duration", &options->limits.max_s, "86400", 0.001,
                   SCHEDULE_TIME_MAX_S, "TIME", "longest run"),
        NUMBER_ROW(INTEGER, "max-requests", &options->limits.max_requests, "1000000000000", 1,
                   (double)API_MANY, "N", "most requests of a run, retries included"),
    };
    memcpy(table + count, own, sizeof own);
    const struct options_program program = {
        .name = PROGRAM,
        .usage = "usage: loadtest serve [OPTIONS]\n\nRuns loads that are asked for over HTTP, one "
                 "at a time: POST /v1/runs with the options of\n`loadtest run` as JSON. Ends by "
                 "SIGTERM.",
        .table = table,
        .count = count + sizeof own / sizeof own[0]};
    return command_parse(&program, argc, argv, status);
}

static bool complain(const char *option, const char *why)
{
    fprintf(stderr, PROGRAM ": --%s: %s\n", option, why);
    return false;
}

static bool check_targets(struct serve_options *options)
{
    char why[384];
    char reason[256];
    if (!target_parse(&options->own, options->load.url, reason, sizeof reason)) {
        char shown[65];
        target_show(options->load.url, shown, sizeof shown);
        snprintf(why, sizeof why, "'%s' %s", shown, reason);
        return complain("url", why);
    }
    if (options->allowed.count == 0)
        return target_list_add(&options->targets, options->own.base, why, sizeof why);
    for (size_t i = 0; i < options->allowed.count; i++)
        if (!target_list_add(&options->targets, options->allowed.values[i], why, sizeof why))
            return complain("allow-target", why);
    return true;
}

static bool check(struct serve_options *options)
{
    char host[256];
    char error[HTTP_ERROR_SIZE];
    uint16_t port;
    if (!options_split_address(options->listen, host, sizeof host, &port)) {
        snprintf(error, sizeof error, "'%.128s' is not HOST:PORT with a port in 0..65535",
                 options->listen);
        return complain("listen", error);
    }
    if (!options->token_file && !options_is_loopback(host)) {
        fprintf(stderr, PROGRAM ": --listen %s is not loopback, so --token-file is required\n",
                options->listen);
        return false;
    }
    if (options->token_file && !http_token_read(options->token_file, options->token, error))
        return complain("token-file", error);
    return check_targets(options);
}

/* Serves until a signal comes. */
static enum exit_code run_server(const struct serve_options *options, struct http_server *server,
                                 struct api *api, struct stop *stop)
{
    char error[HTTP_ERROR_SIZE];
    if (!http_server_serve(server, error)) {
        complain("listen", error);
        http_server_stop(server, clock_now_ns());
        return EXIT_REST_CANNOT_START;
    }
    log_line(LOG_INFO, "started",
             json_pack("{s:i, s:s, s:s}", "port", http_server_port(server), "target",
                       options->load.url, "runs", options->runs_dir));
    stop_wait_until(stop, CLOCK_NEVER);
    int reason = atomic_load(&stop->reason);
    log_line(LOG_INFO, "stopping", json_pack("{s:s}", "signal", strsignal(reason)));
    /* First the run, so that those who follow it hear of its end. */
    bool is_over = run_control_close(api->control, reason, clock_now_ns() + STOP_RUN_NS);
    unsigned cut = http_server_stop(server, clock_now_ns() + STOP_CLIENTS_NS);
    log_line(LOG_INFO, "stopped", json_pack("{s:b, s:i}", "run_kept", is_over, "cut", (int)cut));
    if (is_over && cut == 0)
        return EXIT_PASS;
    /* Threads are left that use what would be freed. */
    fflush(NULL);
    _exit(is_over ? EXIT_PASS : EXIT_TROUBLE);
}

static enum exit_code serve(const struct serve_options *options, struct stop *stop)
{
    char error[HTTP_ERROR_SIZE];
    char why[512];
    enum exit_code status = EXIT_TROUBLE;
    struct api api = {.allowed = &options->targets,
                      .limits = options->limits,
                      .default_url = options->load.url,
                      .login = {.title = "Flashover load tester",
                                .token = options->token_file ? options->token : NULL},
                      .started_unix_s = clock_unix_seconds()};
    const struct http_server_config config = {
        .name = "loadtest",
        .address = options->listen,
        .max_connections =
            descriptors_fit("the port's connections", MAX_CONNECTIONS, OTHER_DESCRIPTORS),
        .max_body_bytes = MAX_BODY_BYTES,
        .token = api.login.token,
        .login = &api.login,
        .own_pages_only = true,
        .routes = api_routes,
        .route_count = api_route_count,
        .context = &api};
    struct http_server *server = http_server_open(&config, error);
    if (!server) {
        complain("listen", error);
        return EXIT_REST_CANNOT_START;
    }
    api.login.port = http_server_port(server);
    api.store = run_store_open(options->runs_dir, (size_t)options->keep_runs, why, sizeof why);
    if (api.store)
        api.control = run_control_new(api.store, &options->own, options->load.admin_url,
                                      options->load.admin_token_file);
    if (api.control) {
        status = run_server(options, server, &api, stop);
    } else {
        complain("runs-dir", why);
        http_server_stop(server, clock_now_ns());
    }
    run_control_free(api.control);
    run_store_close(api.store);
    return status;
}

enum exit_code command_serve(int argc, char **argv, struct stop *stop)
{
    static struct serve_options options; /* threads may outlive us */
    enum exit_code status;
    if (!parse(argc, argv, &options, &status))
        return status;
    if (!check(&options))
        return EXIT_USAGE;
    uint64_t descriptors = descriptors_raise();
    uint64_t others = MAX_CONNECTIONS + OTHER_DESCRIPTORS;
    options.limits.max_in_flight = descriptors > others ? descriptors - others : 1;
    return serve(&options, stop);
}
