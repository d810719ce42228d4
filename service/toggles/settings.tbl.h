/*
 * The options that are settings, too: a value in the database beats them at the next start. A row
 * each, in the order of --help; they are rows of service/options.tbl.h.
 *
 * SETTING(KIND, name, field, fallback, min, max, argument, help): KIND is INTEGER or REAL; the rest
 * is as in service/options.tbl.h. The including file defines SETTING, which is undefined at the
 * end.
 *
 * tests/checks/toggles-and-options names whatever a new row still lacks.
 */
#ifndef SETTING
#define SETTING(KIND, name, field, fallback, min, max, argument, help)
#endif

SETTING(INTEGER, "pool-size", pool_size, "20", 1, 1000, "N", "max pool size")
SETTING(INTEGER, "pool-min", pool_min, "0", 0, 1000, "N", "min pool size, at most --pool-size")
SETTING(INTEGER, "max-waiters", max_waiters, "10000", 0, 1000000, "N",
        "threads that may wait for a connection; 0: no limit")
SETTING(INTEGER, "request-timeout-ms", request_timeout_ms, "1000", 1, 600000, "MS",
        "a request's deadline")
SETTING(INTEGER, "checkout-timeout-ms", checkout_timeout_ms, "0", 0, 600000, "MS",
        "a checkout's own deadline; 0: the request's alone")
SETTING(INTEGER, "fan-out-limit", fan_out_limit, "8", 1, 1000, "N",
        "threads of one request with query=bounded")
SETTING(REAL, "query-latency-ms", query_latency_ms, "5", 0, 60000, "MS",
        "a round trip's cost, spent in the server per statement")

#undef SETTING
