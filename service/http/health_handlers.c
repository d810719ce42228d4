#include "service/http/service.h"

#include "common/check.h"

static void healthz(void *context, const struct http_request *request,
                    struct http_response *response)
{
    (void)context, (void)request;
    text_add(&response->body, "{\"status\":\"alive\"}\n");
}

static void readyz(void *context, const struct http_request *request,
                   struct http_response *response)
{
    struct service *service = context;
    struct failure failure;
    char message[FAILURE_MESSAGE_SIZE + 40];
    if (atomic_load(&service->stopping))
        http_response_error(request, response, 503, -503, "the service is stopping");
    else if (!control_reachable(service->control))
        http_response_error(request, response, 503, -503, "the database cannot be reached");
    else if (db_pool_is_cut_off(service->environment.pool, &failure)) {
        snprintf(message, sizeof message, "the pool has no connection: %s", failure.message);
        http_response_error(request, response, 503, -503, message);
    } else
        text_add(&response->body, "{\"status\":\"ready\"}\n");
}

const struct http_route public_routes[] = {
    {"GET", "/v1/feeds/*", feed_handler},
    {"GET", "/healthz", healthz},
    {"GET", "/readyz", readyz},
};
const size_t public_route_count = sizeof public_routes / sizeof public_routes[0];

void service_observe(void *context, const char *route, int status, int64_t duration_ns)
{
    struct service *service = context;
    service_metrics_observe(&service->metrics, strcmp(route, "/v1/feeds/*") == 0, status,
                            duration_ns);
}
