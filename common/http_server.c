#include "common/http_server.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/http_response.h"
#include "common/http_token.h"
#include "common/log.h"
#include "common/options.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections taken beyond the limit, only to be told so with a 503; more than these are closed at
 * once. */
#define CONNECTIONS_TO_REFUSE 64
/* A body larger than the limit is read and thrown away up to here so that the client can read the
 * 413. */
#define BODY_DISCARD_BYTES ((size_t)1 << 20)
/* Handlers keep what they work on off the stack. */
#define CONNECTION_STACK_BYTES ((size_t)256 << 10)
#define LISTEN_BACKLOG         1024
/* An idle keep-alive connection is closed after this, so that forgotten clients do not use up the
 * limit. */
#define IDLE_TIMEOUT_S 120u

/* Lock key: (i) immutable after start, (a) atomic, (m) under `lock`. */
struct http_server {
    struct http_server_config config; /* (i) */
    int listening;                    /* (i) the socket; the daemon's once there is one */
    struct MHD_Daemon *daemon;        /* (i) NULL until http_server_serve() */
    uint16_t port;                    /* (i) */
    _Atomic unsigned connections;     /* (a) */
    _Atomic bool abandoned;           /* (a) stopped with requests unfinished: take no more */
    _Atomic bool stopping;            /* (a) answers carry "Connection: close" */
    pthread_mutex_t lock;
    pthread_cond_t all_done; /* (m) in_flight fell to 0 */
    unsigned in_flight;      /* (m) requests between their headers and their last byte sent */
};

/* One request on its way; owned by its connection's thread. */
struct exchange {
    struct http_request request;
    struct text body;
    struct text tail;
    bool body_too_large;
};

static _Atomic uint64_t next_request_number;
static char request_id_prefix[9];
static pthread_once_t request_id_once = PTHREAD_ONCE_INIT;

static void make_request_id_prefix(void)
{
    uint32_t random = 0;
    ssize_t got = getrandom(&random, sizeof random, 0);
    assert(got == (ssize_t)sizeof random);
    snprintf(request_id_prefix, sizeof request_id_prefix, "%08x", random);
}

static bool is_request_id(const char *id)
{
    size_t length = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return length > 0 && length < HTTP_REQUEST_ID_SIZE && id[length] == '\0';
}

/* The caller's own X-Request-Id where it is a sane one, so that both sides' logs can be joined. */
static void name_request(struct http_request *request)
{
    const char *given =
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "X-Request-Id");
    CHECK_PTHREAD(pthread_once(&request_id_once, make_request_id_prefix));
    if (given && is_request_id(given))
        snprintf(request->id, sizeof request->id, "%s", given);
    else
        snprintf(request->id, sizeof request->id, "%s-%llu", request_id_prefix,
                 (unsigned long long)atomic_fetch_add(&next_request_number, 1));
}

struct argument_search {
    const char *name;
    const char *value;
    unsigned found;
};

static enum MHD_Result visit_argument(void *cls, enum MHD_ValueKind kind, const char *key,
                                      const char *value)
{
    struct argument_search *search = cls;
    (void)kind;
    if (strcmp(key, search->name) == 0) {
        search->found++;
        search->value = value ? value : "";
    }
    return MHD_YES;
}

unsigned http_request_argument(const struct http_request *request, const char *name,
                               const char **value)
{
    struct argument_search search = {.name = name, .value = ""};
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, visit_argument, &search);
    *value = search.value;
    return search.found;
}

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

/* Finds the route; where only the method is wrong, *allow lists the path's methods. */
static const struct http_route *find_route(const struct http_server *server,
                                           struct exchange *exchange, struct text *allow)
{
    struct http_request *request = &exchange->request;
    const char *tail;
    size_t tail_size;
    request->tail = "";
    for (size_t i = 0; i < server->config.route_count; i++) {
        const struct http_route *route = &server->config.routes[i];
        if (!route_matches(route, request->path, &tail, &tail_size))
            continue;
        if (method_matches(route, request->method)) {
            text_append(&exchange->tail, tail, tail_size);
            request->tail = exchange->tail.failed ? "" : exchange->tail.data;
            return route;
        }
        text_addf(allow, "%s%s%s", allow->size_bytes ? ", " : "", route->method,
                  strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
    }
    return NULL;
}

static bool token_is_right(const struct http_server *server, struct MHD_Connection *connection)
{
    const char *given = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    return !server->config.token || http_token_matches(server->config.token, given);
}

/* The token is what a stranger's page cannot have. */
static bool is_strangers_page(const struct http_server *server, struct MHD_Connection *connection)
{
    return server->config.own_pages_only && !server->config.token &&
           !http_token_is_local(
               MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST),
               MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin"));
}

static enum MHD_Result send_response(struct http_server *server, const struct exchange *exchange,
                                     struct http_response *response, const char *allow, bool close)
{
    struct MHD_Response *out = http_response_make(response);
    if (!out)
        return MHD_NO; /* out of memory: the connection is closed, never a body cut short */
    MHD_add_response_header(out, "X-Request-Id", exchange->request.id);
    MHD_add_response_header(out, MHD_HTTP_HEADER_CONTENT_TYPE, response->content_type);
    if (allow)
        MHD_add_response_header(out, MHD_HTTP_HEADER_ALLOW, allow);
    if (response->status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(out, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (response->retry_after_s > 0) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d", response->retry_after_s);
        MHD_add_response_header(out, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (response->location[0])
        MHD_add_response_header(out, MHD_HTTP_HEADER_LOCATION, response->location);
    if (close || atomic_load(&server->stopping))
        MHD_add_response_header(out, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result result =
        MHD_queue_response(exchange->request.connection, (unsigned)response->status, out);
    MHD_destroy_response(out);
    return result;
}

static bool is_over_limit(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info && info->socket_context;
}

/* Every answer leaves here. */
static enum MHD_Result answer(struct http_server *server, struct exchange *exchange)
{
    const struct http_server_config *config = &server->config;
    struct http_request *request = &exchange->request;
    struct http_response response = {.status = MHD_HTTP_OK, .content_type = "application/json"};
    struct text allow = {0};
    const struct http_route *route = find_route(server, exchange, &allow);
    bool over_limit = is_over_limit(request->connection);
    char message[160];

    request->body = exchange->body.data ? exchange->body.data : "";
    request->body_size_bytes = exchange->body.size_bytes;
    if (over_limit) {
        snprintf(message, sizeof message, "too many HTTP connections: the limit is %u",
                 config->max_connections);
        http_response_error(request, &response, MHD_HTTP_SERVICE_UNAVAILABLE, -503, message);
        response.retry_after_s = 1;
    } else if (!token_is_right(server, request->connection)) {
        http_response_error(request, &response, MHD_HTTP_UNAUTHORIZED, -401,
                            "this port wants the header 'Authorization: Bearer TOKEN'");
    } else if (is_strangers_page(server, request->connection)) {
        http_response_error(
            request, &response, MHD_HTTP_FORBIDDEN, -403,
            "this port takes no requests from other sites' pages; see Host, Origin");
    } else if (!route && allow.size_bytes) {
        http_response_error(request, &response, MHD_HTTP_METHOD_NOT_ALLOWED, -405,
                            "this path does not take this method; see the header Allow");
    } else if (!route) {
        http_response_error(request, &response, MHD_HTTP_NOT_FOUND, -404, "no such path");
    } else if (exchange->body_too_large) {
        snprintf(message, sizeof message, "the body is larger than %zu bytes",
                 config->max_body_bytes);
        http_response_error(request, &response, MHD_HTTP_CONTENT_TOO_LARGE, -413, message);
    } else {
        route->handler(config->context, request, &response);
    }
    if (config->observe)
        config->observe(config->context, route ? route->path : "", response.status,
                        clock_now_ns() - request->arrived_ns);
    enum MHD_Result result =
        send_response(server, exchange, &response, allow.size_bytes && !route ? allow.data : NULL,
                      over_limit || exchange->body_too_large);
    text_clear(&allow);
    return result;
}

static struct exchange *begin_exchange(struct http_server *server,
                                       struct MHD_Connection *connection, const char *path,
                                       const char *method)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->request = (struct http_request){
        .method = method, .path = path, .connection = connection, .arrived_ns = clock_now_ns()};
    name_request(&exchange->request);
    CHECK_PTHREAD(pthread_mutex_lock(&server->lock));
    server->in_flight++;
    CHECK_PTHREAD(pthread_mutex_unlock(&server->lock));
    return exchange;
}

static bool announces_large_body(const struct http_server *server,
                                 struct MHD_Connection *connection)
{
    const char *length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length && strtoull(length, NULL, 10) > server->config.max_body_bytes;
}

/* libmicrohttpd calls this once with the headers, once per piece of the body, and once at its end.
 */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **exchange_slot)
{
    struct http_server *server = cls;
    struct exchange *exchange = *exchange_slot;
    (void)version;
    if (!exchange) {
        if (atomic_load(&server->abandoned))
            return MHD_NO;
        exchange = begin_exchange(server, connection, path, method);
        *exchange_slot = exchange;
        if (!exchange)
            return MHD_NO;
        if (!announces_large_body(server, connection))
            return MHD_YES;
        exchange->body_too_large = true;
        return answer(server, exchange);
    }
    if (*upload_size == 0)
        return answer(server, exchange);
    size_t size = exchange->body.size_bytes + *upload_size;
    if (size > BODY_DISCARD_BYTES + server->config.max_body_bytes)
        return MHD_NO;
    text_append(&exchange->body, upload, *upload_size);
    exchange->body_too_large = size > server->config.max_body_bytes || exchange->body.failed;
    *upload_size = 0;
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **exchange_slot,
                         enum MHD_RequestTerminationCode code)
{
    struct http_server *server = cls;
    struct exchange *exchange = *exchange_slot;
    (void)connection;
    (void)code;
    if (!exchange)
        return;
    *exchange_slot = NULL;
    text_clear(&exchange->body);
    text_clear(&exchange->tail);
    free(exchange);
    CHECK_PTHREAD(pthread_mutex_lock(&server->lock));
    assert(server->in_flight > 0);
    if (--server->in_flight == 0)
        CHECK_PTHREAD(pthread_cond_signal(&server->all_done));
    CHECK_PTHREAD(pthread_mutex_unlock(&server->lock));
}

/* Which connections are too many is decided as they come, so that those within the limit are
 * served. */
static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = cls;
    (void)connection;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        unsigned others = atomic_fetch_add(&server->connections, 1);
        *socket_context = others < server->config.max_connections ? NULL : server;
    } else {
        atomic_fetch_sub(&server->connections, 1);
    }
}

static size_t unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

__attribute__((format(printf, 2, 0))) static void on_mhd_log(void *cls, const char *format,
                                                             va_list arguments)
{
    const struct http_server *server = cls;
    char line[256];
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    log_line(LOG_WARN, "libmicrohttpd",
             json_pack("{s:s, s:s}", "server", server->config.name, "detail", line));
}

/* A listening socket of our own, so that the reason of a failure can be named. Returns -1 with
 * `error` set. */
static int listen_on(const char *address, uint16_t *port, char error[HTTP_ERROR_SIZE])
{
    char host[256];
    char service[8];
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct sockaddr_storage bound;
    socklen_t bound_size = sizeof bound;

    if (options_split_address(address, host, sizeof host, port) != 0) {
        snprintf(error, HTTP_ERROR_SIZE, "'%s' is not HOST:PORT", address);
        return -1;
    }
    snprintf(service, sizeof service, "%u", *port);
    int failure = getaddrinfo(host, service, &hints, &found);
    if (failure) {
        snprintf(error, HTTP_ERROR_SIZE, "%s: %s", address, gai_strerror(failure));
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0); /* a name's first address */
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0 &&
              bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0 &&
              getsockname(fd, (struct sockaddr *)&bound, &bound_size) == 0;
    if (!ok) {
        snprintf(error, HTTP_ERROR_SIZE, "cannot listen on %s: %s", address, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    } else if (getnameinfo((struct sockaddr *)&bound, bound_size, NULL, 0, service, sizeof service,
                           NI_NUMERICSERV) == 0) {
        *port = (uint16_t)strtoul(service, NULL, 10);
    }
    freeaddrinfo(found);
    return fd;
}

struct http_server *http_server_open(const struct http_server_config *config,
                                     char error[HTTP_ERROR_SIZE])
{
    struct http_server *server = calloc(1, sizeof *server);
    if (!server) {
        snprintf(error, HTTP_ERROR_SIZE, "out of memory");
        return NULL;
    }
    server->config = *config;
    server->listening = listen_on(config->address, &server->port, error);
    if (server->listening < 0) {
        free(server);
        return NULL;
    }
    CHECK_PTHREAD(pthread_mutex_init(&server->lock, NULL));
    clock_cond_init(&server->all_done);
    return server;
}

bool http_server_serve(struct http_server *server, char error[HTTP_ERROR_SIZE])
{
    const struct http_server_config *config = &server->config;
    /* poll: select() stops at 1024 descriptors, and epoll does not go with a thread per
     * connection */
    server->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, server,
        MHD_OPTION_LISTEN_SOCKET, server->listening, MHD_OPTION_CONNECTION_LIMIT,
        config->max_connections + CONNECTIONS_TO_REFUSE, MHD_OPTION_CONNECTION_TIMEOUT,
        IDLE_TIMEOUT_S, MHD_OPTION_THREAD_STACK_SIZE, CONNECTION_STACK_BYTES,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_UNESCAPE_CALLBACK, unescape, server, MHD_OPTION_END);
    if (!server->daemon)
        snprintf(error, HTTP_ERROR_SIZE, "%s: libmicrohttpd did not start", config->address);
    return server->daemon != NULL;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

/* Waits for what is in flight. Returns how many requests are left. */
static unsigned drain(struct http_server *server, int64_t deadline_ns)
{
    struct timespec deadline = clock_timespec(deadline_ns);
    CHECK_PTHREAD(pthread_mutex_lock(&server->lock));
    int waited = 0;
    while (server->in_flight > 0 && waited == 0)
        waited = pthread_cond_timedwait(&server->all_done, &server->lock, &deadline);
    unsigned left = server->in_flight;
    atomic_store(&server->abandoned, left > 0);
    CHECK_PTHREAD(pthread_mutex_unlock(&server->lock));
    return left;
}

unsigned http_server_stop(struct http_server *server, int64_t deadline_ns)
{
    atomic_store(&server->stopping, true);
    MHD_socket listening = server->daemon ? MHD_quiesce_daemon(server->daemon) : server->listening;
    if (listening != MHD_INVALID_SOCKET)
        close(listening);
    unsigned cut = drain(server, deadline_ns);
    /* A handler cannot be interrupted, and MHD_stop_daemon() would wait for it beyond the deadline.
     */
    if (cut > 0)
        return cut;
    if (server->daemon)
        MHD_stop_daemon(server->daemon); /* joins every connection's thread */
    CHECK_PTHREAD(pthread_cond_destroy(&server->all_done));
    CHECK_PTHREAD(pthread_mutex_destroy(&server->lock));
    free(server);
    return 0;
}
