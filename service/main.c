/*
 * The service: starts its parts in order, waits for a signal, stops them in the opposite order.
 */
#include "common/check.h"
#include "common/clock.h"
#include "common/descriptors.h"
#include "common/log.h"
#include "common/stop.h"
#include "service/base/thread_state.h"
#include "service/commands.h"
#include "service/dump/crash_dump.h"
#include "service/dump/files.h"
#include "service/dump/helper.h"
#include "service/http/pool_json.h"
#include "service/http/service.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Databases that do not answer so fast at the start, both together, may still come: that is no
 * reason not to start. Not shorter than the control thread's patience, so that settings which that
 * can read are not missed here. */
#define START_CHECK_NS (3 * CLOCK_NS_PER_S)
/* A graceful stop finishes what is in flight, at most this long. */
#define STOP_TIMEOUT_NS (5 * CLOCK_NS_PER_S)
/* A log of failed requests stays readable, and does not fill a disk. */
#define FAILURE_LINES_PER_S 100
/* What each of the allocator's arenas keeps at its end when it is freed. By default glibc raises
 * that to what was freed at once: after some bursts of connects 50 MiB stayed, of which one was in
 * use. */
#define KEPT_HEAP_BYTES   (256 << 10)
#define ADMIN_CONNECTIONS 100
/* Asks the supervisor for another start: what sysexits(3) calls EX_TEMPFAIL. */
#define STATUS_RESTART 75
/* Begins a restart. It stays blocked for good, so one that comes during a stop does nothing. */
#define RESTART_SIGNAL SIGUSR2

static struct config config;
static struct service
    service; /* static: threads that never come back may look at it until the process ends */
#define POOL_APPLICATION "flashover"

static char replica[512];

static void name_replica(void)
{
    char host[200] = "?";
    gethostname(host, sizeof host - 1);
    snprintf(replica, sizeof replica, "%s/%s", host, config.listen);
}

/* A role or a database that does not exist will not come by waiting: that ends the start. Anything
 * else may pass. */
static bool is_hopeless(const char *option, const struct failure *failure)
{
    bool hopeless =
        strncmp(failure->sqlstate, "28", 2) == 0 || strcmp(failure->sqlstate, "3D000") == 0;
    if (hopeless)
        fprintf(stderr, "service: --%s: %s\n", option, failure->message);
    return hopeless;
}

static struct db_conn *open_at_start(const char *conninfo, int64_t deadline_ns,
                                     struct failure *failure)
{
    const struct db_conn_config database = {.conninfo = conninfo,
                                            .application_name = "flashover-start"};
    return db_conn_open(&database, deadline_ns, -1, failure);
}

static bool pool_database_is_wrong(int64_t deadline_ns)
{
    struct failure failure = {0};
    struct db_conn *conn = open_at_start(config.database_url, deadline_ns, &failure);
    bool wrong = !conn && is_hopeless("database-url", &failure);
    db_conn_close(conn);
    return wrong;
}

/* *settings: what is stored, the caller's to json_decref; NULL where the database does not say. */
static bool control_database_is_wrong(int64_t deadline_ns, json_t **settings)
{
    struct failure failure = {0};
    struct db_conn *conn = open_at_start(config.control_database_url, deadline_ns, &failure);
    bool wrong = !conn && is_hopeless("control-database-url", &failure);
    *settings = conn ? store_read(conn, STORE_SETTING, deadline_ns, &failure) : NULL;
    if (!*settings && !wrong)
        log_line(LOG_WARN, "stored settings cannot be read: the options count until they are",
                 json_pack("{s:s}", "error", failure.message));
    db_conn_close(conn);
    return wrong;
}

static void restart(void)
{
    int result = kill(getpid(), RESTART_SIGNAL);
    assert(result == 0);
}

/* A start that could not read the settings runs with the options. Once the database says otherwise,
 * another start puts its values in force. */
static void take_late_settings(void)
{
    static _Atomic bool told;
    if (atomic_exchange(&told, true))
        return;
    log_line(
        LOG_WARN, "the stored settings are not those of the start, which could not read them",
        json_pack("{s:s}", "next", service.restart ? "a restart" : "in force after a restart"));
    if (service.restart)
        service.restart();
}

/* Called when checkouts begin to time out: what led up to it is kept. */
static void dump_pool_events(void *context)
{
    char path[4096];
    (void)context;
    if (!config.dump_dir || config.pool_events == 0)
        return;
    dump_files_trim(config.dump_dir);
    if (pool_json_dump_events(service.environment.pool, config.pool_name, config.dump_dir, path,
                              sizeof path))
        log_line(LOG_WARN, "checkouts begin to time out: the pool's last events are kept",
                 json_pack("{s:s}", "file", path));
    else
        log_line(LOG_WARN, "the pool's last events could not be kept",
                 json_pack("{s:s, s:s}", "dir", config.dump_dir, "error", strerror(errno)));
}

static bool open_pool(void)
{
    /* static: the pool's connector points to them */
    static struct db_conn_config database;
    static struct db_statement statements[3];
    static struct db_preparing preparing;
    struct failure failure = {0};
    service.environment.queries = queries_make(config.query_latency_ms);
    statements[0] = service.environment.queries.feed_list;
    statements[1] = service.environment.queries.video;
    statements[2] = service.environment.queries.feed;
    database = (struct db_conn_config){.conninfo = config.database_url,
                                       .application_name = POOL_APPLICATION,
                                       .statements = statements,
                                       .statement_count = sizeof statements / sizeof statements[0],
                                       .unprepared = strcmp(config.prepared_statements, "off") == 0,
                                       .preparing = &preparing,
                                       .is_replaceable = true};
    service.environment.database = &database;
    struct db_pool_config pool = config_pool(&config);
    pool.connector = db_conn_connector(&database);
    pool.on_episode = dump_pool_events;
    service.environment.pool = db_pool_open(&pool, &failure);
    if (!service.environment.pool) {
        fprintf(stderr, "service: %s\n", failure.message);
        return false;
    }
    db_pool_ready(service.environment.pool);
    return true;
}

static bool start_control(bool settings_known)
{
    struct failure failure = {0};
    const struct control_config control = {.conninfo = config.control_database_url,
                                           .replica = replica,
                                           .pool_application = POOL_APPLICATION,
                                           .dump_dir = config.dump_dir,
                                           .toggles = &service.toggles,
                                           .settings = &service.settings,
                                           .on_new_settings =
                                               settings_known ? NULL : take_late_settings};
    service.control = control_start(&control, &failure);
    if (!service.control)
        fprintf(stderr, "service: %s\n", failure.message);
    return service.control != NULL;
}

static void fill_service(void)
{
    service.started_unix_s = clock_unix_seconds();
    service.restart = strcmp(config.supervised, "on") == 0 ? restart : NULL;
    service.failure_lines.per_s = FAILURE_LINES_PER_S;
    service.diagnoses.per_s = 1;
    service.pool_name = config.pool_name;
    service.default_items = (unsigned)config.items;
    service.request_timeout_ns = config.request_timeout_ms * CLOCK_NS_PER_MS;
    service.query_latency_s = config.query_latency_ms / 1000;
    service.environment.item_failures = service.metrics.item_failures;
    service.environment.fan_out_limit = (unsigned)config.fan_out_limit;
    service.environment.threads =
        (struct cached_threads_config){.max_threads = (unsigned)config.max_threads,
                                       .stack_bytes = (size_t)config.thread_stack_kib << 10,
                                       .idle_ns = config.fan_out_idle_ms * CLOCK_NS_PER_MS,
                                       .create = pthread_create};
    toggles_init(&service.toggles, config.toggles, config.toggle_origins);
    map_window_set_us((unsigned)config.map_window_us);
}

static struct http_server *open_public(void)
{
    static struct http_server_config public;
    char error[HTTP_ERROR_SIZE];
    public = (struct http_server_config){.name = "public",
                                         .address = config.listen,
                                         .max_connections = (unsigned)config.max_connections,
                                         .max_body_bytes = 4096,
                                         .routes = public_routes,
                                         .route_count = public_route_count,
                                         .context = &service,
                                         .observe = service_observe};
    struct http_server *server = http_server_open(&public, error);
    if (!server)
        fprintf(stderr, "service: --listen: %s\n", error);
    return server;
}

static struct http_server *open_admin(void)
{
    static struct http_server_config admin;
    char error[HTTP_ERROR_SIZE];
    admin = (struct http_server_config){.name = "admin",
                                        .address = config.admin_listen,
                                        .max_connections = ADMIN_CONNECTIONS,
                                        .max_body_bytes = 65536,
                                        .token = config.admin_token,
                                        .own_pages_only = true,
                                        .routes = admin_routes,
                                        .route_count = admin_route_count,
                                        .context = &service,
                                        .observe = service_observe};
    struct http_server *server = http_server_open(&admin, error);
    if (!server)
        fprintf(stderr, "service: --admin-listen: %s\n", error);
    return server;
}

static void log_start(const struct http_server *public, const struct http_server *admin)
{
    log_line(LOG_INFO, "started",
             json_pack("{s:s, s:i, s:i, s:s, s:o}", "replica", replica, "port",
                       http_server_port(public), "admin_port", http_server_port(admin), "database",
                       config.pool_name, "toggles", toggles_describe(&service.toggles)));
}

/* Waits for SIGTERM, SIGINT or SIGHUP, of which a second one ends the process at once, or for a
 * restart. Returns whether it is one. */
static bool wait_for_stop(const sigset_t *signals)
{
    int signal_number;
    sigset_t awaited = *signals;
    sigaddset(&awaited, RESTART_SIGNAL);
    sigwait(&awaited, &signal_number);
    bool is_restart = signal_number == RESTART_SIGNAL;
    log_line(LOG_INFO, is_restart ? "restarting" : "stopping",
             json_pack("{s:s}", "signal", strsignal(signal_number)));
    if (is_restart)
        return true; /* SIGTERM stays blocked: the supervisor that sends it makes a stop of this */
    signal(SIGTERM, SIG_DFL);
    CHECK_PTHREAD(pthread_sigmask(SIG_UNBLOCK, signals, NULL));
    return false;
}

/* What is in flight is finished, at most until the deadline; items' threads may outlive their
 * request by a query. */
static bool drain_requests(struct http_server *public, int64_t deadline_ns)
{
    unsigned cut = http_server_stop(public, deadline_ns);
    while (cached_threads_count().at_work > 0 && clock_now_ns() < deadline_ns)
        clock_sleep_until(clock_now_ns() + 5 * CLOCK_NS_PER_MS);
    unsigned threads = cached_threads_count().at_work;
    if (cut > 0 || threads > 0)
        log_line(
            LOG_WARN, "stopped with work unfinished",
            json_pack("{s:I, s:I}", "requests", (json_int_t)cut, "threads", (json_int_t)threads));
    return cut == 0 && threads == 0;
}

static bool begin_serving(struct http_server *public, struct http_server *admin)
{
    char error[HTTP_ERROR_SIZE];
    bool ok = http_server_serve(public, error) && http_server_serve(admin, error);
    if (!ok)
        fprintf(stderr, "service: %s\n", error);
    return ok;
}

/* Before there are threads. Threads beside those of HTTP connections and fan-outs are few. */
static bool prepare_dumps(int argc, char **argv)
{
    enum { OTHER_THREADS = 256 };
    const struct dump_helper_config dumps = {
        .max_threads = (unsigned)(config.max_connections + config.max_threads) + OTHER_THREADS,
        .dump_dir = config.dump_dir,
        .argc = argc,
        .argv = argv};
    if (!dump_helper_start(&dumps)) {
        fprintf(stderr, "service: the process that prints dumps cannot start: %s\n",
                strerror(errno));
        return false;
    }
    crash_dump_install();
    return true;
}

/* A limit of 1024 open files, as shells have it, would meet query=connect_per_item before the
 * database's own limit does. Where it cannot be raised, the public port makes do with less. */
static void fit_descriptors(void)
{
    enum { TO_A_CONNECTION = 3, TO_A_PORT = 64, OTHERS = 64 };
    long others = OTHERS + 2 * TO_A_PORT + ADMIN_CONNECTIONS +
                  TO_A_CONNECTION * (config.pool_size + config.pool_max_connecting);
    (void)descriptors_raise();
    config.max_connections =
        descriptors_fit("--max-connections", (unsigned)config.max_connections, (unsigned)others);
}

/* Before the ports open. False: the start ends. */
static bool prepare(bool *settings_known)
{
    json_t *settings = NULL;
    int64_t check_until_ns = clock_now_ns() + START_CHECK_NS;
    if (control_database_is_wrong(check_until_ns, &settings) ||
        pool_database_is_wrong(check_until_ns)) {
        json_decref(settings);
        return false;
    }
    *settings_known = settings != NULL;
    config_take_settings(&config, settings, &service.settings);
    json_decref(settings);
    fit_descriptors();
    if (config.dump_dir)
        dump_files_trim(config.dump_dir);
    name_replica();
    fill_service();
    if (config.shown_password)
        log_line(LOG_WARN,
                 "a password on the command line can be read by every user of this machine",
                 json_pack("{s:s}", "option", config.shown_password));
    return true;
}

/* *all_done: no request of either port was left behind, and no thread of one. */
static int serve(const sigset_t *signals, bool *all_done)
{
    bool settings_known;
    if (!prepare(&settings_known))
        return 1;
    /* The ports before the control thread: a start that ends here must leave no event, least of all
     * one that calls the life of the service that has the port a crash. */
    struct http_server *public = open_public();
    struct http_server *admin = public ? open_admin() : NULL;
    if (!public || !admin || !open_pool() || !start_control(settings_known))
        return 1;
    bool serving = begin_serving(public, admin);
    bool again = false;
    if (serving) {
        log_start(public, admin);
        again = wait_for_stop(signals);
        atomic_store(&service.stopping, true);
        clock_sleep_until(clock_now_ns() + config.drain_delay_ms * CLOCK_NS_PER_MS);
    }
    *all_done = drain_requests(public, clock_now_ns() + STOP_TIMEOUT_NS);
    /* before the control and the pool, which its handlers ask */
    if (http_server_stop(admin, clock_now_ns() + CLOCK_NS_PER_S) > 0)
        *all_done = false;
    control_stop(service.control, again);
    db_pool_close(service.environment.pool);
    if (*all_done)
        (void)db_pool_free(service.environment.pool);
    if (!serving)
        return 1;
    log_line(LOG_INFO, "stopped", NULL);
    return again ? STATUS_RESTART : 0;
}

/* The kernel keeps waiting threads in a table. Since Linux 6.16 a process has its own, sized by the
 * processors: 16 places on two of them, and each wake-up walks along all that wait in its place.
 * With thousands of threads that took a fifth of the rate. An older kernel refuses the call: its
 * table is everybody's, and large. See PR_FUTEX_HASH in prctl(2). */
static void fit_futex_table(void)
{
    enum { FUTEX_HASH = 78, SET_SLOTS = 1, PLACES = 8192 }; /* bookworm's headers lack the names */
    (void)prctl(FUTEX_HASH, SET_SLOTS, PLACES, 0, 0);
}

static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int main(int argc, char **argv)
{
    sigset_t signals;
    int positional_count;
    enum options_outcome outcome = config_read(&config, argc, argv, &positional_count);
    if (outcome != OPTIONS_RUN)
        return outcome == OPTIONS_EXIT_OK ? 0 : 2;
    if (positional_count > 0 && strcmp(argv[1], "toggle") == 0)
        return command_toggle(&config, positional_count - 1, argv + 2);
    if (positional_count > 0 && strcmp(argv[1], "set") == 0)
        return command_set(&config, positional_count - 1, argv + 2);
    if (positional_count == 1 && strcmp(argv[1], "healthcheck") == 0)
        return command_healthcheck(&config);
    if (positional_count > 0) {
        fprintf(stderr, "service: unknown command '%s' (see --help)\n", argv[1]);
        return 2;
    }
    if (!config_check_serving(&config))
        return 2;
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_HEAP_BYTES);
    /* Blocked before any thread starts, so that only sigwait() sees them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    if (!is_ignored(SIGHUP)) /* nohup's choice stays */
        sigaddset(&signals, SIGHUP);
    sigset_t blocked = signals;
    sigaddset(&blocked, RESTART_SIGNAL);
    CHECK_PTHREAD(pthread_sigmask(SIG_BLOCK, &blocked, NULL));
    stop_ignore_file_signals();
    thread_state_watch_log();
    if (!prepare_dumps(argc, argv))
        return 1;
    fit_futex_table();
    thread_state_enter("main", "");
    thread_state_set(THREAD_IDLE);
    bool all_done = false;
    int status = serve(&signals, &all_done);
    thread_state_leave();
    dump_helper_stop();
    if (all_done)
        return status; /* as LeakSanitizer needs it */
    /* a thread that never came back may still run, and exit() would free what it uses */
    fflush(NULL);
    _exit(status);
}
