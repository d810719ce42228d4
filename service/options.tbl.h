/*
 * The service's options, a row each, in the order of --help; its toggles come after them, from
 * service/variants/toggles.tbl.h.
 *
 * OPTION(KIND, name, field, fallback, range, argument, help): KIND and the rest are as in struct
 * option, `field` is the member of struct config. The including file defines OPTION, and where it
 * uses `range` also RANGE(min, max), CHOICES(text) and ANY_TEXT. OPTION is undefined at the end.
 *
 * tests/checks/toggles-and-options names whatever a new row still lacks.
 */
#ifndef OPTION
#define OPTION(KIND, name, field, fallback, range, argument, help)
#endif

OPTION(TEXT, "listen", listen, "127.0.0.1:8080", ANY_TEXT, "HOST:PORT", "public address")
OPTION(TEXT, "admin-listen", admin_listen, "127.0.0.1:8081", ANY_TEXT, "HOST:PORT",
       "admin address: metrics, toggles, debug")
OPTION(TEXT, "admin-token-file", admin_token_file, NULL, ANY_TEXT, "FILE",
       "bearer token of the admin port; required off loopback")
OPTION(TEXT, "database-url", database_url, NULL, ANY_TEXT, "CONNINFO",
       "the pool's database, role flashover_app; else PG* variables")
OPTION(TEXT, "control-database-url", control_database_url, NULL, ANY_TEXT, "CONNINFO",
       "toggles, events, readyz: role flashover_control, direct")
OPTION(CHOICE, "prepared-statements", prepared_statements, "on", CHOICES("on|off"), "SWITCH",
       "off: each query brings its SQL, for PgBouncer before 1.21 in transaction pooling")
/* Settings: the database may hold other values. */
#define SETTING(KIND, name, field, fallback, min, max, argument, help)                             \
    OPTION(KIND, name, field, fallback, RANGE(min, max), argument, help)
#include "service/toggles/settings.tbl.h"
OPTION(INTEGER, "pool-max-connecting", pool_max_connecting, "2", RANGE(1, 100), "N",
       "connects under way at the same time")
OPTION(INTEGER, "pool-max-idle-ms", pool_max_idle_ms, "600000", RANGE(0, 86400000), "MS",
       "a connection idle for longer is closed; 0: never")
OPTION(INTEGER, "pool-max-lifetime-ms", pool_max_lifetime_ms, "1800000", RANGE(0, 86400000), "MS",
       "a connection open for longer, less up to a tenth, is closed; 0: never")
OPTION(INTEGER, "pool-prove-idle-ms", pool_prove_idle_ms, "30000", RANGE(0, 86400000), "MS",
       "a connection idle for longer is proved by a round trip first; 0: never")
OPTION(INTEGER, "items", items, "300", RANGE(1, QUERIES_MAX_ITEMS), "N",
       "items of a request without ?items=")
OPTION(INTEGER, "max-connections", max_connections, "1000", RANGE(1, 30000), "N",
       "HTTP connections of the public port")
OPTION(INTEGER, "max-threads", max_threads, "10000", RANGE(1, 30000), "N",
       "fan-out threads of all requests together")
OPTION(INTEGER, "thread-stack-kib", thread_stack_kib, "128", RANGE(64, 8192), "KIB",
       "stack of a fan-out thread")
OPTION(INTEGER, "fan-out-idle-ms", fan_out_idle_ms, "5000", RANGE(0, 600000), "MS",
       "a fan-out thread that waits for longer for an item ends; 0: each ends after its item")
OPTION(INTEGER, "pool-events", pool_events, "16384", RANGE(0, 1048576), "N",
       "the pool's last events that are kept for /debug/pool/events")
OPTION(CHOICE, "supervised", supervised, "off", CHOICES("on|off"), "SWITCH",
       "on: exit status 75 starts the service again, so POST /v1/restart may ask for it")
OPTION(TEXT, "dump-dir", dump_dir, NULL, ANY_TEXT, "DIR",
       "folder for dumps of a crash, and for those events when checkouts begin to time out; none: "
       "no files")
OPTION(INTEGER, "drain-delay-ms", drain_delay_ms, "0", RANGE(0, 60000), "MS",
       "after SIGTERM, how long /readyz answers 503 before the port closes")
OPTION(INTEGER, "map-window-us", map_window_us, "0", RANGE(0, 1000000), "US",
       "artificial wait inside a map write; the race needs none")

#undef OPTION
