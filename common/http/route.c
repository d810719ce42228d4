#include "common/http/route.h"

#include <strings.h>

/* *tail and *tail_size become what stands for the '*'. */
static bool route_matches(const struct http_route *route, const char *path, const char **tail,
                          size_t *tail_size)
{
    const char *star = strchr(route->path, '*');
    size_t before = star ? (size_t)(star - route->path) : 0;
    *tail = "";
    *tail_size = 0;
    if (!star)
        return strcmp(path, route->path) == 0;
    if (strncmp(path, route->path, before) != 0)
        return false;
    *tail = path + before;
    *tail_size = strcspn(*tail, "/");
    return *tail_size > 0 && strcmp(*tail + *tail_size, star + 1) == 0;
}

static bool method_matches(const struct http_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

const struct http_route *http_route_find(const struct http_server_config *config,
                                         const char *method, const char *path, struct text *tail,
                                         struct text *allow)
{
    const char *rest;
    size_t rest_size;
    for (size_t i = 0; i < config->route_count; i++) {
        const struct http_route *route = &config->routes[i];
        if (!route_matches(route, path, &rest, &rest_size))
            continue;
        if (method_matches(route, method)) {
            text_append(tail, rest, rest_size);
            return route;
        }
        text_addf(allow, "%s%s%s", allow->size_bytes ? ", " : "", route->method,
                  strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
    }
    return NULL;
}

bool http_route_is_health(const struct http_route *route)
{
    return route && (strcmp(route->path, "/healthz") == 0 || strcmp(route->path, "/readyz") == 0);
}

const char *http_route_path(const char *target)
{
    if (strncasecmp(target, "http://", 7) != 0)
        return target;
    const char *path = strchr(target + 7, '/');
    return path ? path : "/";
}
