#include "drill/serve/command.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/http/token.h"
#include "common/log.h"
#include "common/option_row.h"
#include "drill/serve/api.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRAM         "drill serve"
#define MAX_CONNECTIONS 100
#define MAX_BODY_BYTES  65536
#define STOP_CLIENTS_NS (2 * CLOCK_NS_PER_S)

struct serve_options {
    const char *listen, *facilitator_listen;
    const char *token_file, *facilitator_token_file;
    const char *catalogue_dir, *drills_dir;
    double pace;
    struct lab_config lab;
    char token[HTTP_TOKEN_SIZE], facilitator_token[HTTP_TOKEN_SIZE];
};

static bool parse(int argc, char **argv, struct serve_options *options, int *status)
{
    int positional_count;
    struct option table[] = {
        TEXT_ROW("listen", &options->listen, "127.0.0.1:8095", "HOST:PORT", "people's address"),
        TEXT_ROW("facilitator-listen", &options->facilitator_listen, "127.0.0.1:8096", "HOST:PORT",
                 "the facilitator's address"),
        TEXT_ROW("token-file", &options->token_file, NULL, "FILE", "people's token; required"),
        TEXT_ROW("facilitator-token-file", &options->facilitator_token_file, NULL, "FILE",
                 "the facilitator's token; required"),
        TEXT_ROW("url", &options->lab.public_url, "http://127.0.0.1:8080", "URL",
                 "the service's public port"),
        TEXT_ROW("admin-url", &options->lab.admin_url, "http://127.0.0.1:8081", "URL",
                 "its admin port"),
        TEXT_ROW("admin-token-file", &options->lab.admin_token_file, NULL, "FILE",
                 "bearer token of the admin port"),
        TEXT_ROW("loadtest-url", &options->lab.loadtest_url, "http://127.0.0.1:8090", "URL",
                 "the load tester"),
        TEXT_ROW("loadtest-token-file", &options->lab.loadtest_token_file, NULL, "FILE",
                 "its bearer token"),
        TEXT_ROW("drill-database-url", &options->lab.conninfo, NULL, "CONNINFO",
                 "the database, role flashover_drill; else PG* variables"),
        TEXT_ROW("catalogue-dir", &options->catalogue_dir, "experiments", "DIR",
                 "house.yaml and scenarios/NAME.yaml"),
        TEXT_ROW("drills-dir", &options->drills_dir, "drills", "DIR",
                 "keeps the records, a folder each"),
        NUMBER_ROW(REAL, "pace", &options->pace, "1", 0.01, 10, "N",
                   "multiplies people's times: lead times, windows, limits"),
    };
    const struct options_program program = {
        .name = PROGRAM,
        .usage = "usage: drill serve [OPTIONS]\n\nRuns drills, one at a time, on the lab. Ends by "
                 "SIGTERM.",
        .table = table,
        .count = sizeof table / sizeof table[0]};
    enum options_outcome outcome =
        options_parse(&program, argc, argv, &positional_count, stdout, stderr);
    *status = outcome == OPTIONS_EXIT_OK ? 0 : 2;
    if (outcome == OPTIONS_RUN && positional_count > 0)
        fprintf(stderr, PROGRAM ": unexpected '%s' (see --help)\n", argv[1]);
    return outcome == OPTIONS_RUN && positional_count == 0;
}

static bool complain(const char *option, const char *why)
{
    fprintf(stderr, PROGRAM ": --%s: %s\n", option, why);
    return false;
}

/* On loopback, too: a drill's answer is on the facilitator's port. */
static bool read_token(const char *option, const char *file, char token[HTTP_TOKEN_SIZE])
{
    char error[HTTP_ERROR_SIZE];
    if (!file)
        return complain(option, "is required");
    return http_token_read(file, token, error) || complain(option, error);
}

static bool check_url(const char *option, const char *url)
{
    return strncmp(url, "http://", 7) == 0 || complain(option, "must be http://HOST:PORT");
}

static bool check(struct serve_options *options)
{
    return read_token("token-file", options->token_file, options->token) &&
           read_token("facilitator-token-file", options->facilitator_token_file,
                      options->facilitator_token) &&
           check_url("url", options->lab.public_url) &&
           check_url("admin-url", options->lab.admin_url) &&
           check_url("loadtest-url", options->lab.loadtest_url);
}

static struct http_server *open_port(struct http_server_config *config, const char *option,
                                     struct api *api)
{
    char error[HTTP_ERROR_SIZE];
    config->max_connections = MAX_CONNECTIONS;
    config->max_body_bytes = MAX_BODY_BYTES;
    config->token = api->login.token;
    config->login = &api->login;
    config->own_pages_only = true;
    config->context = api;
    struct http_server *server = http_server_open(config, error);
    if (!server)
        complain(option, error);
    else
        api->login.port = http_server_port(server);
    return server;
}

/* Serves on both ports until a signal comes. */
static int run(struct http_server *people, struct http_server *facilitator, struct stop *stop,
               unsigned *cut)
{
    char error[HTTP_ERROR_SIZE];
    bool ok = http_server_serve(people, error) && http_server_serve(facilitator, error);
    if (ok) {
        log_line(LOG_INFO, "started",
                 json_pack("{s:i, s:i}", "port", http_server_port(people), "facilitator_port",
                           http_server_port(facilitator)));
        stop_wait_until(stop, CLOCK_NEVER);
        log_line(LOG_INFO, "stopping",
                 json_pack("{s:s}", "signal", strsignal(atomic_load(&stop->reason))));
    } else {
        complain("listen", error);
    }
    *cut = http_server_stop(people, clock_now_ns() + STOP_CLIENTS_NS);
    *cut += http_server_stop(facilitator, clock_now_ns() + STOP_CLIENTS_NS);
    return ok && *cut == 0 ? 0 : 1;
}

/* *cut: requests whose threads may still run. */
static int serve(struct serve_options *options, const struct catalogue *catalogue,
                 struct stop *stop, unsigned *cut)
{
    char why[512];
    /* static: threads of requests may outlive us */
    static struct http_server_config people, facilitator;
    static struct api people_api, facilitator_api;
    const struct engine_config config = {.lab = options->lab,
                                         .catalogue = catalogue,
                                         .drills_dir = options->drills_dir,
                                         .pace = options->pace};
    struct engine *engine = engine_open(&config, why, sizeof why);
    if (!engine) {
        fprintf(stderr, PROGRAM ": %s\n", why);
        return 1;
    }
    people_api = (struct api){.engine = engine,
                              .catalogue = catalogue,
                              .login = {.title = "Flashover", .token = options->token}};
    facilitator_api = (struct api){
        .engine = engine,
        .catalogue = catalogue,
        .login = {.title = "Flashover: facilitator", .token = options->facilitator_token}};
    people = (struct http_server_config){.name = "people",
                                         .address = options->listen,
                                         .routes = people_routes,
                                         .route_count = people_route_count};
    facilitator = (struct http_server_config){.name = "facilitator",
                                              .address = options->facilitator_listen,
                                              .routes = facilitator_routes,
                                              .route_count = facilitator_route_count};
    struct http_server *first = open_port(&people, "listen", &people_api);
    struct http_server *second =
        first ? open_port(&facilitator, "facilitator-listen", &facilitator_api) : NULL;
    int status = 1;
    if (second)
        status = run(first, second, stop, cut);
    else if (first)
        http_server_stop(first, clock_now_ns());
    engine_close(engine, *cut == 0);
    log_line(LOG_INFO, "stopped", NULL);
    return status;
}

int serve_command(int argc, char **argv, struct stop *stop)
{
    static struct serve_options options; /* threads may outlive us */
    static struct catalogue catalogue;
    int status;
    if (!parse(argc, argv, &options, &status))
        return status;
    if (!check(&options))
        return 2;
    if (!catalogue_open(&catalogue, options.catalogue_dir, stderr)) {
        catalogue_close(&catalogue);
        return 2;
    }
    if (mkdir(options.drills_dir, 0700) != 0 && access(options.drills_dir, W_OK) != 0) {
        complain("drills-dir", "cannot be made, or not be written to");
        catalogue_close(&catalogue);
        return 1;
    }
    unsigned cut = 0;
    status = serve(&options, &catalogue, stop, &cut);
    if (cut == 0)
        catalogue_close(&catalogue);
    return status;
}
