/*
 * What the handlers of both ports share, and their tables of routes. Filled by main before the
 * servers start.
 */
#ifndef FLASHOVER_SERVICE_HTTP_SERVICE_H
#define FLASHOVER_SERVICE_HTTP_SERVICE_H

#include "common/http/server.h"
#include "common/log.h"
#include "service/http/service_metrics.h"
#include "service/toggles/control.h"

/* Lock key: (i) immutable while the servers run, (a) atomic; the rest guards itself. */
struct service {
    struct query_environment environment; /* (i) */
    struct toggles toggles;
    struct settings settings;
    struct control *control; /* (i) */
    /* (i) Begins a graceful stop, after which the supervisor starts another life. NULL: there is no
     * supervisor. */
    void (*restart)(void);
    struct service_metrics metrics;
    const char *pool_name;          /* (i) HOST:PORT of the database */
    unsigned default_items;         /* (i) items of a request without ?items= */
    int64_t request_timeout_ns;     /* (i) */
    double query_latency_s;         /* (i) for the metrics */
    double started_unix_s;          /* (i) */
    _Atomic bool stopping;          /* (a) /readyz says no */
    struct log_limit failure_lines; /* a failed request's line, */
    struct log_limit diagnoses;     /* and the pool's whole view in it */
};

/* GET /v1/feeds/{feed_id}: handler context is a struct service. */
void feed_handler(void *context, const struct http_request *request,
                  struct http_response *response);

/* GET and PATCH /v1/settings, POST /v1/restart: the context is a struct service. */
void settings_get(void *context, const struct http_request *request,
                  struct http_response *response);
void settings_patch(void *context, const struct http_request *request,
                    struct http_response *response);
void restart_post(void *context, const struct http_request *request,
                  struct http_response *response);

/* The changes that a PATCH brings, as JSON; NULL, and a refusal is the answer. */
json_t *change_body(const struct http_request *request, struct http_response *response);

/* The routes of the two ports. */
extern const struct http_route public_routes[];
extern const size_t public_route_count;
extern const struct http_route admin_routes[];
extern const size_t admin_route_count;

/* For http_server_config.observe. */
void service_observe(void *context, const char *route, int status, int64_t duration_ns);

#endif
