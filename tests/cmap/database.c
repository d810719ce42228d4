#include "tests/cmap/database.h"

#include "common/check.h"
#include "common/clock.h"

#include <poll.h>

/* MongoDB's ShutdownInProgress. PostgreSQL refuses a connect for that reason with 57P03. */
#define SHUTDOWN_IN_PROGRESS 91

/* Whether the fail point acts on this connect. Counts it as one of the fail point's times. */
static bool take_turn(struct cmap_database *database)
{
    if (!database->point)
        return false;
    long left = atomic_load(&database->times_left);
    while (left > 0 && !atomic_compare_exchange_weak(&database->times_left, &left, left - 1))
        continue;
    return left != 0;
}

/* Delays the connect. False when it is given up or its deadline passes meanwhile. */
static bool block(const struct cmap_database *database, int64_t deadline_ns, int interrupt_fd,
                  struct failure *failure)
{
    struct pollfd interrupt = {.fd = interrupt_fd, .events = POLLIN};
    int64_t until_ns = clock_now_ns() + database->block_ns;
    while (clock_now_ns() < until_ns) {
        if (poll(&interrupt, 1,
                 clock_poll_ms(until_ns < deadline_ns ? until_ns : deadline_ns, 1000)) > 0)
            return failure_set(failure, FAILURE_UNAVAILABLE, "connect to %s failed: given up",
                               database->address);
        if (clock_now_ns() >= deadline_ns)
            return failure_set(failure, FAILURE_UNAVAILABLE,
                               "connect to %s failed: no answer in time", database->address);
    }
    return true;
}

static bool refuse(const struct cmap_database *database, struct failure *failure)
{
    const struct cmap_fail_point *point = database->point;
    if (point->closes)
        return failure_set(failure, FAILURE_UNAVAILABLE,
                           "connect to %s failed: the server closed the connection",
                           database->address);
    failure_set(failure, FAILURE_UNAVAILABLE, "connect to %s failed: error %lld", database->address,
                (long long)point->error_code);
    if (point->error_code == SHUTDOWN_IN_PROGRESS)
        snprintf(failure->sqlstate, sizeof failure->sqlstate, "57P03");
    return false;
}

static void *connect_behind_point(void *context, int64_t deadline_ns, int interrupt_fd,
                                  struct failure *failure)
{
    struct cmap_database *database = context;
    if (take_turn(database)) {
        if (!block(database, deadline_ns, interrupt_fd, failure))
            return NULL;
        if (database->point->closes || database->point->error_code) {
            refuse(database, failure);
            return NULL;
        }
    }
    return database->connector.connect(database->connector.context, deadline_ns, interrupt_fd,
                                       failure);
}

/* Sets the address: HOST:PORT of the conninfo, or the defaults. */
static void find_address(struct cmap_database *database)
{
    PQconninfoOption *options = PQconninfoParse(database->conn_config.conninfo, NULL);
    const char *host = "localhost";
    const char *port = "5432";
    for (const PQconninfoOption *option = options; option && option->keyword; option++) {
        if (option->val && strcmp(option->keyword, "host") == 0)
            host = option->val;
        if (option->val && strcmp(option->keyword, "port") == 0)
            port = option->val;
    }
    snprintf(database->address, sizeof database->address, "%s:%s", host, port);
    PQconninfoFree(options);
}

/* A fail point with a name acts only on connections of that name. */
static bool acts_on(const struct cmap_fail_point *point, const char *app_name)
{
    return point->times != 0 &&
           (!point->app_name || (app_name && strcmp(point->app_name, app_name) == 0));
}

void cmap_database_init(struct cmap_database *database, const struct cmap_settings *settings,
                        const struct cmap_scenario *scenario)
{
    *database = (struct cmap_database){.is_stub = !settings->conninfo};
    stub_init(&database->stub);
    if (database->is_stub) {
        database->connector = stub_connector(&database->stub);
        snprintf(database->address, sizeof database->address, "stub:1");
    } else {
        const char *name = scenario->options.app_name;
        database->conn_config = (struct db_conn_config){
            .conninfo = settings->conninfo, .application_name = name ? name : "cmap_runner"};
        database->connector = db_conn_connector(&database->conn_config);
        find_address(database);
    }
    if (acts_on(&scenario->fail_point, scenario->options.app_name))
        database->point = &scenario->fail_point;
    if (database->point && !settings->external_delays)
        database->block_ns = database->point->block_ms * CLOCK_NS_PER_MS;
    atomic_store(&database->times_left, scenario->fail_point.times);
}

struct db_connector cmap_database_connector(struct cmap_database *database)
{
    struct db_connector connector = database->connector;
    connector.context = database;
    connector.connect = connect_behind_point;
    return connector;
}

unsigned cmap_database_left_open(struct cmap_database *database)
{
    return database->is_stub ? stub_made(&database->stub) - stub_closed(&database->stub) : 0;
}
