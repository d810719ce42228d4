#include "service/config.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/http/token.h"

#include <ctype.h>
#include <libpq-fe.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_NS (5 * CLOCK_NS_PER_S)
#define MAX_UNTRIED_NS     (5 * CLOCK_NS_PER_S)
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
    "       service set [NAME=VALUE…]             the same with settings, in force after a "
    "restart; "
    "NAME=: the option counts\n"
    "       service healthcheck                   exit 0 when /readyz of --listen answers 200\n"
    "       service --help | --version";

/* AT_listen, AT_admin_listen, …: each option's place in the table. */
#define OPTION(KIND, name, field, fallback, range, argument, help) AT_##field,
enum {
#include "service/options.tbl.h"
    FIXED_OPTIONS
};

/* AT_pool_size, AT_pool_min, …: each setting's place in the table of options. */
static const int setting_places[SETTINGS] = {
#define SETTING(KIND, name, field, fallback, min, max, argument, help) AT_##field,
#include "service/toggles/settings.tbl.h"
};

static void fill_fixed(struct config *config, struct option table[FIXED_OPTIONS])
{
#define RANGE(min_, max_) .min = (min_), .max = (max_)
#define CHOICES(choices_) .choices = (choices_)
#define ANY_TEXT          .choices = NULL
#define OPTION(KIND, name_, field_, fallback_, range_, argument_, help_)                           \
    table[AT_##field_] = (struct option){.name = (name_),                                          \
                                         .kind = OPTION_##KIND,                                    \
                                         .value = &config->field_,                                 \
                                         .fallback = (fallback_),                                  \
                                         .argument = (argument_),                                  \
                                         .help = (help_),                                          \
                                         range_};
#include "service/options.tbl.h"
}

static void fill_table(struct config *config, struct option table[FIXED_OPTIONS + TOGGLES])
{
    fill_fixed(config, table);
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
    if (options_split_address(address, host, 256, &port))
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
    if (ok && name) { /* it goes into JSON and metrics, which are UTF-8 */
        char address[sizeof host + sizeof port];
        snprintf(address, sizeof address, "%s:%s", host, port);
        text_one_line(address, name, name_size);
    }
    PQfreemem(error);
    PQconninfoFree(parsed);
    PQconninfoFree(defaults);
    return ok;
}

static bool has_password(const char *conninfo)
{
    PQconninfoOption *parsed = conninfo ? PQconninfoParse(conninfo, NULL) : NULL;
    bool has = false;
    for (const PQconninfoOption *item = parsed; item && item->keyword; item++)
        has = has || (strcmp(item->keyword, "password") == 0 && item->val && *item->val);
    PQconninfoFree(parsed);
    return has;
}

/* Every user of a machine can read the arguments of every process. */
static void find_shown_password(struct config *config, const struct option *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool is_url = table[i].value == &config->database_url ||
                      table[i].value == &config->control_database_url;
        if (is_url && table[i].origin == OPTION_FROM_COMMAND_LINE &&
            has_password(*(const char *const *)table[i].value))
            config->shown_password = table[i].name;
    }
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

static enum value_origin value_origin(const struct option *option)
{
    return option->origin == OPTION_FROM_DEFAULT ? VALUE_FROM_DEFAULT : VALUE_FROM_OPTION;
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
        config->toggle_origins[toggle] = value_origin(&table[FIXED_OPTIONS + toggle]);
    for (enum setting setting = 0; setting < SETTINGS; setting++)
        config->setting_origins[setting] = value_origin(&table[setting_places[setting]]);
    find_shown_password(config, table, FIXED_OPTIONS);
    if (config->dump_dir && !config->dump_dir[0]) /* --dump-dir="$UNSET" */
        config->dump_dir = NULL;
    bool ok = check_conninfo("database-url", config->database_url, config->pool_name,
                             sizeof config->pool_name) &&
              check_conninfo("control-database-url", config->control_database_url, NULL, 0);
    return ok ? OPTIONS_RUN : OPTIONS_EXIT_USAGE;
}

void config_take_settings(struct config *config, const json_t *stored, struct settings *settings)
{
    const double options[SETTINGS] = {
#define SETTING(KIND, name, field, fallback, min, max, argument, help) (double)config->field,
#include "service/toggles/settings.tbl.h"
    };
    settings_init(settings, options, config->setting_origins, stored);
#define SETTING(KIND, name, field, fallback, min, max, argument, help)                             \
    config->field = (OPTION_FIELD_##KIND)settings->value[SETTING_##field];
#include "service/toggles/settings.tbl.h"
}

struct db_pool_config config_pool(const struct config *config)
{
    assert(config->pool_min <= config->pool_size); /* config_check_serving() */
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
        .max_untried_ns = MAX_UNTRIED_NS,
        .max_idle_ns = config->pool_max_idle_ms * CLOCK_NS_PER_MS,
        .max_lifetime_ns = config->pool_max_lifetime_ms * CLOCK_NS_PER_MS,
        .max_waiters = (unsigned)config->max_waiters,
        .close_timeout_ns = CLOSE_TIMEOUT_NS,
        .policy = &db_pool_policy_autonomous,
        .recorder_events = (unsigned)config->pool_events};
}
