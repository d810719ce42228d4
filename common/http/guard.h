/*
 * Decides whether a request is let in, by its token or cookie and by the page that it comes from.
 * For the HTTP server alone.
 */
#ifndef FLASHOVER_COMMON_HTTP_GUARD_H
#define FLASHOVER_COMMON_HTTP_GUARD_H

#include "common/http/server.h"

/* Whether the request is refused: 401, or 403 for another site's page. The response is filled then.
 * `route` may be NULL. */
bool http_guard_refuses(const struct http_server_config *config, const struct http_request *request,
                        const struct http_route *route, struct http_response *response);

#endif
