/*
 * Finds a request's route.
 */
#ifndef FLASHOVER_COMMON_HTTP_ROUTE_H
#define FLASHOVER_COMMON_HTTP_ROUTE_H

#include "common/http/server.h"

/* The route of this method and path; NULL: none. `tail` gets what stands for the route's '*'. Where
 * only the method is wrong, `allow` gets those that the path takes, as the header Allow has them.
 */
const struct http_route *http_route_find(const struct http_server_config *config,
                                         const char *method, const char *path, struct text *tail,
                                         struct text *allow);

/* Whether it is /healthz or /readyz, which are answered beyond the limit of connections, too. NULL
 * is allowed. */
bool http_route_is_health(const struct http_route *route);

/* The path of a target in absolute form, "http://HOST/PATH", as a proxy sends it (RFC 9112, section
 * 3.2.2); any other target as it is. Points into `target`. */
const char *http_route_path(const char *target);

#endif
