/*
 * The load tester over HTTP: its routes (api_routes.c) and what their handlers share (api.c).
 * Described for callers in docs/openapi.yaml.
 */
#ifndef FLASHOVER_LOADTEST_SERVE_API_H
#define FLASHOVER_LOADTEST_SERVE_API_H

#include "common/http/login.h"
#include "loadtest/plan/target_list.h"
#include "loadtest/serve/run_control.h"
#include "loadtest/serve/run_store.h"

#define API_MANY INT64_C(1000000000000)

/* What the operator allows a run; the widest where he says nothing. */
struct api_limits {
    double max_per_s;       /* the highest rate */
    double max_s;           /* the duration */
    int64_t max_requests;   /* the schedule's, each with all of its retries */
    uint64_t max_in_flight; /* what the limit of open files leaves beside the port's connections */
};

/* Lock key: (i) immutable while the server runs, (a) atomic; the rest guards itself. */
struct api {
    struct run_control *control;
    struct run_store *store;
    const struct target_list *allowed; /* (i) where a run may be sent to */
    struct api_limits limits;          /* (i) */
    const char *default_url;           /* (i) where it is sent to unless it says */
    struct http_login login;           /* (i) */
    double started_unix_s;             /* (i) */
    _Atomic unsigned streams;          /* (a) clients of /events */
};

extern const struct http_route api_routes[];
extern const size_t api_route_count;

/* The handlers; their context is the struct api. */
http_handler api_run_post;
http_handler api_run_list;
http_handler api_run_get;
http_handler api_run_patch;
http_handler api_run_stop;
http_handler api_run_seconds;
http_handler api_run_series;
http_handler api_run_histogram;
http_handler api_run_report;
http_handler api_run_events;
http_handler api_metrics;
http_handler api_health;
http_handler api_page;
http_handler api_login_form;
http_handler api_login;

/* Loads the run that the path names. NULL when there is none: that has been answered then. */
json_t *api_load(const struct api *api, const struct http_request *request,
                 struct http_response *response) __attribute__((warn_unused_result));

/* The same for what only a finished run has; `what` names it. */
json_t *api_load_finished(const struct api *api, const struct http_request *request,
                          struct http_response *response, const char *what)
    __attribute__((warn_unused_result));

/* The rows of a run under way, in JSON; they are freed. */
json_t *api_seconds_json(const char *id, struct run_seconds *seconds)
    __attribute__((warn_unused_result));

/* Of a run's record what fits on a screen. The record is stolen. */
json_t *api_summary(json_t *record) __attribute__((warn_unused_result));

#endif
