/*
 * The routes of `loadtest serve`: every handler, and nothing else.
 */
#include "loadtest/serve/api.h"

const struct http_route api_routes[] = {
    {"POST", "/v1/runs", api_run_post},
    {"GET", "/v1/runs", api_run_list},
    {"GET", "/v1/runs/*", api_run_get},
    {"PATCH", "/v1/runs/*", api_run_patch},
    {"POST", "/v1/runs/*/stop", api_run_stop},
    {"GET", "/v1/runs/*/seconds", api_run_seconds},
    {"GET", "/v1/runs/*/series", api_run_series},
    {"GET", "/v1/runs/*/histogram", api_run_histogram},
    {"GET", "/v1/runs/*/report.html", api_run_report},
    {"GET", "/v1/runs/*/events", api_run_events},
    {"GET", "/metrics", api_metrics},
    {"GET", "/healthz", api_health},
    {"GET", "/", api_page},
    {"GET", "/login", api_login_form},
    {"POST", "/login", api_login},
};
const size_t api_route_count = sizeof api_routes / sizeof api_routes[0];
