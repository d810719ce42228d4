#include "common/http/guard.h"

#include "common/http/login.h"
#include "common/http/token.h"

#include <microhttpd.h>
#include <string.h>

/* What lets a request in. */
enum pass { PASS_NONE, PASS_NOT_NEEDED, PASS_TOKEN, PASS_COOKIE };

static const char *header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static enum pass pass_of(const struct http_server_config *config,
                         const struct http_request *request, const struct http_route *route)
{
    bool is_login = config->login && route && strcmp(route->path, HTTP_LOGIN_PATH) == 0;
    if (!config->token || is_login)
        return PASS_NOT_NEEDED;
    if (http_token_matches(config->token, header(request, MHD_HTTP_HEADER_AUTHORIZATION)))
        return PASS_TOKEN;
    return config->login && http_login_is_in(config->login, request) ? PASS_COOKIE : PASS_NONE;
}

static bool is_strangers_page(const struct http_server_config *config,
                              const struct http_request *request, enum pass pass)
{
    const struct http_token_page page = {.method = request->method,
                                         .host = header(request, MHD_HTTP_HEADER_HOST),
                                         .origin = header(request, "Origin"),
                                         .fetch_site = header(request, "Sec-Fetch-Site"),
                                         .has_token = config->token != NULL,
                                         .by_cookie = pass == PASS_COOKIE};
    return config->own_pages_only && !http_token_is_own_page(&page);
}

bool http_guard_refuses(const struct http_server_config *config, const struct http_request *request,
                        const struct http_route *route, struct http_response *response)
{
    enum pass pass = pass_of(config, request, route);
    if (pass == PASS_NONE && config->login && http_login_wants_page(request))
        http_login_form(config->login, response, MHD_HTTP_UNAUTHORIZED);
    else if (pass == PASS_NONE)
        http_response_error(request, response, MHD_HTTP_UNAUTHORIZED, -401,
                            "this port wants the header 'Authorization: Bearer TOKEN'");
    else if (is_strangers_page(config, request, pass))
        http_response_error(
            request, response, MHD_HTTP_FORBIDDEN, -403,
            "this port takes no requests from other sites' pages; see Host, Origin");
    else
        return false;
    return true;
}
