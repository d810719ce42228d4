#include "service/config.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/http_token.h"

#include <ctype.h>
#include <libpq-fe.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_NS (5 * CLOCK_NS_PER_S)
/* How long a connection whose request gave up may take to end its query and be used again. Queries
 * of this service take a few round trips' time; what takes longer is worth a new connection. */
#define DRAIN_TIMEOUT_NS (250 * CLOCK_NS_PER_MS)
/* How long a query whose request gave up, and that is too slow to be drained, may take to end once
 * it is to be cancelled. */
#define CANCEL_TIMEOUT_NS (2 * CLOCK_NS_PER_S)
/* A closed connection counts until the server has let go of it, but not for longer. */
#define CLOSE_TIMEOUT_NS (10 * CLOCK_NS_PER_S)
/* How often connections that grew too old are looked for. */
#define BACKGROUND_INTERVAL_NS CLOCK_NS_PER_S

static const char usage[] =
    "Usage: service [OPTION…]                     serve until SIGTERM\n"
    "       service toggle [NAME=VALUE…]          store toggles in the database; without "
    "arguments, list them\n"
    "       service healthcheck                   exit 0 when /readyz of --listen answers 200\n"
    "       service --help | --version";

enum { FIXED_OPTIONS = 25 };

static void fill_table(struct config *config, struct option table[FIXED_OPTIONS + TOGGLES])
{
    const struct option fixed[FIXED_OPTIONS] = {
        {.name = "listen",
         .kind = OPTION_TEXT,
         .value = &config->listen,
         .fallback = "127.0.0.1:8080",
         .argument = "HOST:PORT",
         .help = "public address"},
        {.name = "admin-listen",
         .kind = OPTION_TEXT,
         .value = &config->admin_listen,
         .fallback = "127.0.0.1:8081",
         .argument = "HOST:PORT",
         .help = "admin address: metrics, toggles, debug"},
        {.name = "admin-token-file",
         .kind = OPTION_TEXT,
         .value = &config->admin_token_file,
         .argument = "FILE",
         .help = "bearer token of the admin port; required off loopback"},
        {.name = "database-url",
         .kind = OPTION_TEXT,
         .value = &config->database_url,
         .argument = "CONNINFO",
         .help = "the pool's database, role flashover_app; else PG* variables"},
        {.name = "control-database-url",
         .kind = OPTION_TEXT,
         .value = &config->control_database_url,
         .argument = "CONNINFO",
         .help = "toggles, events, readyz: role flashover_control, direct"},
        {.name = "prepared-statements",
         .kind = OPTION_CHOICE,
         .value = &config->prepared_statements,
         .fallback = "on",
         .choices = "on|off",
         .argument = "SWITCH",
         .help =
             "off: each query brings its SQL, for PgBouncer before 1.21 in transaction pooling"},
        {.name = "pool-size",
         .kind = OPTION_INTEGER,
         .value = &config->pool_size,
         .fallback = "20",
         .min = 1,
         .max = 1000,
         .argument = "N",
         .help = "max pool size"},
        {.name = "pool-min",
         .kind = OPTION_INTEGER,
         .value = &config->pool_min,
         .fallback = "0",
         .min = 0,
         .max = 1000,
         .argument = "N",
         .help = "min pool size, at most --pool-size"},
        {.name = "pool-max-connecting",
         .kind = OPTION_INTEGER,
         .value = &config->pool_max_connecting,
         .fallback = "2",
         .min = 1,
         .max = 100,
         .argument = "N",
         .help = "connects under way at the same time"},
        {.name = "pool-max-idle-ms",
         .kind = OPTION_INTEGER,
         .value = &config->pool_max_idle_ms,
         .fallback = "600000",
         .min = 0,
         .max = 86400000,
         .argument = "MS",
         .help = "a connection idle for longer is closed; 0: never"},
        {.name = "pool-max-lifetime-ms",
         .kind = OPTION_INTEGER,
         .value = &config->pool_max_lifetime_ms,
         .fallback = "1800000",
         .min = 0,
         .max = 86400000,
         .argument = "MS",
         .help = "a connection open for longer, less up to a tenth, is closed; 0: never"},
        {.name = "pool-prove-idle-ms",
         .kind = OPTION_INTEGER,
         .value = &config->pool_prove_idle_ms,
         .fallback = "30000",
         .min = 0,
         .max = 86400000,
         .argument = "MS",
         .help = "a connection idle for longer is proved by a round trip first; 0: never"},
        {.name = "max-waiters",
         .kind = OPTION_INTEGER,
         .value = &config->max_waiters,
         .fallback = "10000",
         .min = 0,
         .max = 1000000,
         .argument = "N",
         .help = "threads that may wait for a connection; 0: no limit"},
        {.name = "request-timeout-ms",
         .kind = OPTION_INTEGER,
         .value = &config->request_timeout_ms,
         .fallback = "1000",
         .min = 1,
         .max = 600000,
         .argument = "MS",
         .help = "a request's deadline"},
        {.name = "checkout-timeout-ms",
         .kind = OPTION_INTEGER,
         .value = &config->checkout_timeout_ms,
         .fallback = "0",
         .min = 0,
         .max = 600000,
         .argument = "MS",
         .help = "a checkout's own deadline; 0: the request's alone"},
        {.name = "query-latency-ms",
         .kind = OPTION_REAL,
         .value = &config->query_latency_ms,
         .fallback = "5",
         .min = 0,
         .max = 60000,
         .argument = "MS",
         .help = "a round trip's cost, spent in the server per statement"},
        {.name = "items",
         .kind = OPTION_INTEGER,
         .value = &config->items,
         .fallback = "300",
         .min = 1,
         .max = QUERIES_MAX_ITEMS,
         .argument = "N",
         .help = "items of a request without ?items="},
        {.name = "max-connections",
         .kind = OPTION_INTEGER,
         .value = &config->max_connections,
         .fallback = "1000",
         .min = 1,
         .max = 30000,
         .argument = "N",
         .help = "HTTP connections of the public port"},
        {.name = "max-threads",
         .kind = OPTION_INTEGER,
         .value = &config->max_threads,
         .fallback = "10000",
         .min = 1,
         .max = 30000,
         .argument = "N",
         .help = "fan-out threads of all requests together"},
        {.name = "thread-stack-kib",
         .kind = OPTION_INTEGER,
         .value = &config->thread_stack_kib,
         .fallback = "128",
         .min = 64,
         .max = 8192,
         .argument = "KIB",
         .help = "stack of a fan-out thread"},
        {.name = "fan-out-limit",
         .kind = OPTION_INTEGER,
         .value = &config->fan_out_limit,
         .fallback = "8",
         .min = 1,
         .max = 1000,
         .argument = "N",
         .help = "threads of one request with query=bounded"},
        {.name = "pool-events",
         .kind = OPTION_INTEGER,
         .value = &config->pool_events,
         .fallback = "16384",
         .min = 0,
         .max = 1048576,
         .argument = "N",
         .help = "the pool's last events that are kept for /debug/pool/events"},
        {.name = "dump-dir",
         .kind = OPTION_TEXT,
         .value = &config->dump_dir,
         .argument = "DIR",
         .help = "where these go when checkouts begin to time out, and the dump of a crash; none: "
                 "nowhere"},
        {.name = "drain-delay-ms",
         .kind = OPTION_INTEGER,
         .value = &config->drain_delay_ms,
         .fallback = "0",
         .min = 0,
         .max = 60000,
         .argument = "MS",
         .help = "from SIGTERM, /readyz says 503 so long before the port closes"},
        {.name = "map-window-us",
         .kind = OPTION_INTEGER,
         .value = &config->map_window_us,
         .fallback = "0",
         .min = 0,
         .max = 1000000,
         .argument = "US",
         .help = "artificial wait inside a map write; the race needs none"},
    };
    memcpy(table, fixed, sizeof fixed);
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++)
        table[FIXED_OPTIONS + toggle] =
            (struct option){.name = toggle_definitions[toggle].name,
                            .kind = OPTION_CHOICE,
                            .value = &config->toggles[toggle],
                            .fallback = toggle_value_name(toggle, 0),
                            .choices = toggle_definitions[toggle].choices,
                            .argument = "VALUE",
                            .help = "toggle; a value stored in the database beats it"};
}

static bool check_address(const char *option, const char *address, char host[256])
{
    uint16_t port;
    if (options_split_address(address, host, 256, &port) == 0)
        return true;
    fprintf(stderr, "service: --%s: '%s' is not HOST:PORT with a port in 0..65535\n", option,
            address);
    return false;
}

/* The values of host and port in libpq's list, where it has them. */
static void read_address(const PQconninfoOption *list, char host[128], char port[16])
{
    for (const PQconninfoOption *item = list; item && item->keyword; item++) {
        if (item->val && *item->val && strcmp(item->keyword, "host") == 0)
            snprintf(host, 128, "%s", item->val);
        if (item->val && *item->val && strcmp(item->keyword, "port") == 0)
            snprintf(port, 16, "%s", item->val);
    }
}

/* Names the host and port that libpq will use first: its defaults (PG* variables), then what the
 * conninfo says. False with a line on stderr when the conninfo cannot be parsed. */
static bool check_conninfo(const char *option, const char *conninfo, char *name, size_t name_size)
{
    char host[128] = "localhost";
    char port[16] = "5432";
    char *error = NULL;
    PQconninfoOption *defaults = PQconndefaults();
    PQconninfoOption *parsed = conninfo ? PQconninfoParse(conninfo, &error) : NULL;
    bool ok = parsed || !conninfo;
    read_address(defaults, host, port);
    read_address(parsed, host, port);
    if (!ok && error)
        error[strcspn(error, "\n")] = '\0';
    if (!ok)
        fprintf(stderr, "service: --%s: %s\n", option,
                error ? error : "not a conninfo string or URI");
    else if (name)
        snprintf(name, name_size, "%s:%s", host, port);
    PQfreemem(error);
    PQconninfoFree(parsed);
    PQconninfoFree(defaults);
    return ok;
}

static bool read_token(struct config *config)
{
    static char token[HTTP_TOKEN_SIZE];
    char error[HTTP_ERROR_SIZE];
    bool ok = http_token_read(config->admin_token_file, token, error);
    if (!ok)
        fprintf(stderr, "service: --admin-token-file: %s\n", error);
    config->admin_token = ok ? token : NULL;
    return ok;
}

bool config_check_serving(struct config *config)
{
    char host[256];
    if (!check_address("listen", config->listen, host) ||
        !check_address("admin-listen", config->admin_listen, host))
        return false;
    if (!config->admin_token_file && !options_is_loopback(host)) {
        fprintf(stderr,
                "service: --admin-listen %s is not loopback, so --admin-token-file is required\n",
                config->admin_listen);
        return false;
    }
    if (config->pool_min > config->pool_size) {
        fprintf(stderr, "service: --pool-min: '%lld' is not in the range 0..%lld (--pool-size)\n",
                (long long)config->pool_min, (long long)config->pool_size);
        return false;
    }
    return !config->admin_token_file || read_token(config);
}

enum options_outcome config_read(struct config *config, int argc, char **argv,
                                 int *positional_count)
{
    struct option table[FIXED_OPTIONS + TOGGLES];
    *config = (struct config){0};
    fill_table(config, table);
    const struct options_program program = {
        .name = "service", .usage = usage, .table = table, .count = FIXED_OPTIONS + TOGGLES};
    enum options_outcome outcome =
        options_parse(&program, argc, argv, positional_count, stdout, stderr);
    if (outcome != OPTIONS_RUN)
        return outcome;
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++)
        config->toggle_origins[toggle] = table[FIXED_OPTIONS + toggle].origin == OPTION_FROM_DEFAULT
                                             ? TOGGLE_FROM_DEFAULT
                                             : TOGGLE_FROM_OPTION;
    bool ok = check_conninfo("database-url", config->database_url, config->pool_name,
                             sizeof config->pool_name) &&
              check_conninfo("control-database-url", config->control_database_url, NULL, 0);
    return ok ? OPTIONS_RUN : OPTIONS_EXIT_USAGE;
}

struct db_pool_config config_pool(const struct config *config)
{
    return (struct db_pool_config){
        .address = config->pool_name,
        .max_size = (unsigned)config->pool_size,
        .min_size = (unsigned)config->pool_min,
        .max_connecting = (unsigned)config->pool_max_connecting,
        .wait_queue_timeout_ns = config->checkout_timeout_ms * CLOCK_NS_PER_MS,
        .background_interval_ns = BACKGROUND_INTERVAL_NS,
        .connect_timeout_ns = CONNECT_TIMEOUT_NS,
        .drain_timeout_ns = DRAIN_TIMEOUT_NS,
        .cancel_timeout_ns = CANCEL_TIMEOUT_NS,
        .prove_after_idle_ns = config->pool_prove_idle_ms * CLOCK_NS_PER_MS,
        .max_idle_ns = config->pool_max_idle_ms * CLOCK_NS_PER_MS,
        .max_lifetime_ns = config->pool_max_lifetime_ms * CLOCK_NS_PER_MS,
        .max_waiters = (unsigned)config->max_waiters,
        .close_timeout_ns = CLOSE_TIMEOUT_NS,
        .autonomous = true,
        .recorder_events = (unsigned)config->pool_events};
}
