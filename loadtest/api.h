/*
 * The load tester over HTTP: what its handlers share, and their table of routes. Described for
 * callers in docs/openapi.yaml.
 */
#ifndef FLASHOVER_LOADTEST_API_H
#define FLASHOVER_LOADTEST_API_H

#include "common/http_server.h"
#include "loadtest/run_control.h"
#include "loadtest/run_store.h"
#include "loadtest/target_list.h"

/* Lock key: (i) immutable while the server runs, (a) atomic; the rest guards itself. */
struct api {
    struct run_control *control;
    struct run_store *store;
    const struct target_list *allowed; /* (i) where a run may be sent to */
    const char *default_url;           /* (i) where it is sent to unless it says */
    double started_unix_s;             /* (i) */
    _Atomic unsigned streams;          /* (a) clients of /events */
};

extern const struct http_route api_routes[];
extern const size_t api_route_count;

/* The handlers; their context is the struct api. */
http_handler api_run_post;
http_handler api_run_list;
http_handler api_run_get;
http_handler api_run_stop;
http_handler api_run_series;
http_handler api_run_histogram;
http_handler api_run_report;
http_handler api_run_events;
http_handler api_metrics;
http_handler api_health;
http_handler api_page;

/* Answers with the one error shape; its ecode is minus the status. */
void api_refuse(const struct http_request *request, struct http_response *response, int status,
                const char *message);

/* Answers with a JSON document, which is stolen; NULL: there was no memory to make it. */
void api_answer(const struct http_request *request, struct http_response *response,
                json_t *document);

/* Loads the run that the path names. NULL when there is none: that has been answered then. */
json_t *api_load(const struct api *api, const struct http_request *request,
                 struct http_response *response) __attribute__((warn_unused_result));

/* The same for what only a finished run has; `what` names it. */
json_t *api_load_finished(const struct api *api, const struct http_request *request,
                          struct http_response *response, const char *what)
    __attribute__((warn_unused_result));

/* Of a run's record what fits on a screen. The record is stolen. */
json_t *api_summary(json_t *record) __attribute__((warn_unused_result));

#endif
