#include "tests/support/loopback.h"

#include "tests/support/support.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static http_handler answer;

static const struct http_route routes[LOOPBACK_ROUTES] = {{"GET", "/metrics", answer},
                                                          {"GET", "/readyz", answer},
                                                          {"GET", "/v1/toggles", answer},
                                                          {"PATCH", "/v1/toggles", answer},
                                                          {"GET", "/v1/feeds/*", answer}};

/* The route of "GET /metrics". */
static size_t route_of(const char *request)
{
    for (size_t i = 0; i < LOOPBACK_ROUTES; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s %s", routes[i].method, routes[i].path);
        if (strcmp(name, request) == 0)
            return i;
    }
    fail_msg("'%s' is no route", request);
    return 0;
}

static bool is_for(const struct http_route *route, const struct http_request *request)
{
    size_t fixed = strcspn(route->path, "*");
    return strcmp(route->method, request->method) == 0 &&
           strncmp(route->path, request->path, fixed) == 0 &&
           strcmp(route->path + fixed, request->path[fixed] ? "*" : "") == 0;
}

/* Lock held. Returns the first unused reply, or the last one. */
static const struct loopback_reply *take_reply(struct loopback *loopback, size_t route)
{
    struct loopback_reply *found = NULL;
    for (size_t i = 0; i < loopback->reply_count; i++) {
        struct loopback_reply *reply = &loopback->replies[i];
        if (route_of(reply->request) == route && (!found || found->used))
            found = reply;
    }
    if (found)
        found->used = true;
    return found;
}

static void answer(void *context, const struct http_request *request,
                   struct http_response *response)
{
    struct loopback *loopback = context;
    size_t route = 0;
    while (!is_for(&routes[route], request))
        route++;
    CHECK_PTHREAD(pthread_mutex_lock(&loopback->lock));
    loopback->routes[route].asked++;
    snprintf(loopback->routes[route].body, LOOPBACK_BODY_SIZE, "%s", request->body);
    struct timespec until = clock_timespec(clock_now_ns() + TEST_PATIENCE_NS);
    int waited = 0;
    while (loopback->held && waited == 0)
        waited = pthread_cond_timedwait(&loopback->changed, &loopback->lock, &until);
    const struct loopback_reply *reply = take_reply(loopback, route);
    response->status = reply ? reply->status : 404;
    text_add(&response->body, reply ? reply->body : "");
    CHECK_PTHREAD(pthread_mutex_unlock(&loopback->lock));
}

void loopback_start(struct loopback *loopback, const char *token)
{
    char error[HTTP_ERROR_SIZE] = "";
    *loopback = (struct loopback){.config = {.name = "test",
                                             .address = "127.0.0.1:0",
                                             .max_connections = 100,
                                             .max_body_bytes = LOOPBACK_BODY_SIZE - 1,
                                             .token = token,
                                             .routes = routes,
                                             .route_count = LOOPBACK_ROUTES,
                                             .context = loopback}};
    CHECK_PTHREAD(pthread_mutex_init(&loopback->lock, NULL));
    clock_cond_init(&loopback->changed);
    loopback->server = http_server_open(&loopback->config, error);
    if (!loopback->server || !http_server_serve(loopback->server, error))
        fail_msg("%s", error);
    snprintf(loopback->url, sizeof loopback->url, "http://127.0.0.1:%u",
             http_server_port(loopback->server));
}

void loopback_stop(struct loopback *loopback)
{
    assert_int_equal(http_server_stop(loopback->server, clock_now_ns() + TEST_PATIENCE_NS), 0);
    CHECK_PTHREAD(pthread_cond_destroy(&loopback->changed));
    CHECK_PTHREAD(pthread_mutex_destroy(&loopback->lock));
}

void loopback_reply(struct loopback *loopback, const char *request, int status, const char *body)
{
    CHECK_PTHREAD(pthread_mutex_lock(&loopback->lock));
    assert(loopback->reply_count < LOOPBACK_REPLIES_MAX);
    loopback->replies[loopback->reply_count++] =
        (struct loopback_reply){.request = request, .status = status, .body = body};
    CHECK_PTHREAD(pthread_mutex_unlock(&loopback->lock));
}

void loopback_hold(struct loopback *loopback, bool held)
{
    CHECK_PTHREAD(pthread_mutex_lock(&loopback->lock));
    loopback->held = held;
    CHECK_PTHREAD(pthread_cond_broadcast(&loopback->changed));
    CHECK_PTHREAD(pthread_mutex_unlock(&loopback->lock));
}

unsigned loopback_asked(struct loopback *loopback, const char *request)
{
    size_t route = route_of(request);
    CHECK_PTHREAD(pthread_mutex_lock(&loopback->lock));
    unsigned asked = loopback->routes[route].asked;
    CHECK_PTHREAD(pthread_mutex_unlock(&loopback->lock));
    return asked;
}

void loopback_latest_body(struct loopback *loopback, const char *request,
                          char out[LOOPBACK_BODY_SIZE])
{
    size_t route = route_of(request);
    CHECK_PTHREAD(pthread_mutex_lock(&loopback->lock));
    memcpy(out, loopback->routes[route].body, LOOPBACK_BODY_SIZE);
    CHECK_PTHREAD(pthread_mutex_unlock(&loopback->lock));
}

/* A bound port that does not listen refuses connections, and nobody else gets it. */
int loopback_take_port(bool is_open, char url[LOOPBACK_URL_SIZE])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    if (is_open)
        assert_int_equal(listen(fd, 100), 0);
    snprintf(url, LOOPBACK_URL_SIZE, "http://127.0.0.1:%u", ntohs(address.sin_port));
    return fd;
}

void loopback_write_file(char *path, const char *text)
{
    int fd = mkstemp(path);
    size_t size = strlen(text);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), size);
    close(fd);
}
