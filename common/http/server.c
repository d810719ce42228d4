#include "common/http/server.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/http/acceptor.h"
#include "common/http/framing.h"
#include "common/http/guard.h"
#include "common/http/listen.h"
#include "common/http/response.h"
#include "common/http/route.h"
#include "common/log.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <unistd.h>

/* Connections taken beyond the limit, only to be told so with a 503, or to ask for the program's
 * health; more than these are closed at once. */
#define CONNECTIONS_TO_REFUSE 64
/* libmicrohttpd's own limit is never met: those that are being closed count there, too. */
#define CONNECTIONS_CLOSING 512
/* A body in chunks that becomes larger than the limit is read and thrown away up to here, so that
 * the client can read the 413. */
#define BODY_DISCARD_BYTES ((size_t)1 << 20)
/* The body of a request that is refused is not kept. Up to here it is read, so that the client gets
 * its answer and can keep the connection; a larger one is answered before it is read. */
#define REFUSED_BODY_BYTES ((size_t)16 << 10)
/* Handlers keep what they work on off the stack. */
#define CONNECTION_STACK_BYTES ((size_t)256 << 10)
/* How long a peer may take for a request's header, then for its body. */
#define HEADER_TIMEOUT_NS (10 * CLOCK_NS_PER_S)
#define BODY_TIMEOUT_NS   (10 * CLOCK_NS_PER_S)
#define BODY_AT_STOP_NS   CLOCK_NS_PER_S /* for its rest, when the server stops */
/* An idle keep-alive connection is closed after this. libmicrohttpd's timeout is as long: it ends a
 * peer that does not read its answer. */
#define IDLE_TIMEOUT_S 120u

/* Lock key: (i) immutable after start, (a) atomic, (m) under `lock`. */
struct http_server {
    struct http_server_config config; /* (i) */
    int listening;                    /* (i) the socket; the acceptor's once there is one */
    struct MHD_Daemon *daemon;        /* (i) NULL until http_server_serve() */
    struct http_acceptor *acceptor;   /* (i) the same */
    uint16_t port;                    /* (i) */
    struct log_limit log_limit;
    _Atomic bool abandoned; /* (a) stopped with requests unfinished: take no more */
    _Atomic bool stopping;  /* (a) answers carry "Connection: close" */
    pthread_mutex_t lock;
    pthread_cond_t all_done; /* (m) in_flight fell to 0 */
    unsigned in_flight;      /* (m) requests between their headers and their last byte sent */
};

/* One request on its way; owned by its connection's thread. */
struct exchange {
    struct http_request request;
    const struct http_route *route; /* NULL: none */
    struct text allow;              /* where only the method is wrong: those of the path */
    struct text tail;
    struct text body;  /* up to the limit; nothing of a larger one, or of a refused request's */
    size_t body_bytes; /* so many came */
    bool is_refused;   /* whatever its body holds; `response` says why */
    bool is_malformed; /* it is not known where the request ends: the connection is closed */
    bool body_too_large;
    struct http_response response;
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

static enum MHD_Result send_response(struct http_server *server, struct exchange *exchange,
                                     bool close)
{
    struct http_response *response = &exchange->response;
    struct MHD_Response *out = http_response_make(response);
    if (!out)
        return MHD_NO; /* out of memory: the connection is closed, never a body cut short */
    MHD_add_response_header(out, "X-Request-Id", exchange->request.id);
    MHD_add_response_header(out, MHD_HTTP_HEADER_CONTENT_TYPE, response->content_type);
    MHD_add_response_header(out, "X-Content-Type-Options", "nosniff");
    if (strncmp(response->content_type, "text/html", 9) == 0) {
        MHD_add_response_header(out, "Content-Security-Policy", "frame-ancestors 'none'");
        MHD_add_response_header(out, "X-Frame-Options", "DENY");
    }
    if (response->status == MHD_HTTP_METHOD_NOT_ALLOWED && exchange->allow.size_bytes)
        MHD_add_response_header(out, MHD_HTTP_HEADER_ALLOW, exchange->allow.data);
    if (response->status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(out, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (response->retry_after_s > 0) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d", response->retry_after_s);
        MHD_add_response_header(out, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (response->location[0])
        MHD_add_response_header(out, MHD_HTTP_HEADER_LOCATION, response->location);
    if (response->cookie.size_bytes && !response->cookie.failed)
        MHD_add_response_header(out, MHD_HTTP_HEADER_SET_COOKIE, response->cookie.data);
    if (close || atomic_load(&server->stopping))
        MHD_add_response_header(out, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result result =
        MHD_queue_response(exchange->request.connection, (unsigned)response->status, out);
    MHD_destroy_response(out);
    return result;
}

static struct http_peer *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* Whether the request is refused by its header alone; `response` is filled then. */
static bool refuse(const struct http_server *server, struct exchange *exchange, const char *version)
{
    const struct http_server_config *config = &server->config;
    const struct http_request *request = &exchange->request;
    const struct http_route *route = exchange->route;
    struct http_response *response = &exchange->response;
    const char *mistake = http_framing_mistake(request->connection, version);
    exchange->is_malformed = mistake != NULL;
    if (mistake) {
        http_response_refuse(request, response, MHD_HTTP_BAD_REQUEST, mistake);
        return true;
    }
    if (http_peer_is_beyond(peer_of(request->connection)) && !http_route_is_health(route)) {
        char message[80];
        snprintf(message, sizeof message, "too many HTTP connections: the limit is %u",
                 config->max_connections);
        http_response_error(request, response, MHD_HTTP_SERVICE_UNAVAILABLE, -503, message);
        response->retry_after_s = 1;
        return true;
    }
    if (http_guard_refuses(config, request, route, response))
        return true;
    if (!route && exchange->allow.size_bytes)
        http_response_error(request, response, MHD_HTTP_METHOD_NOT_ALLOWED, -405,
                            "this path does not take this method; see the header Allow");
    else if (!route)
        http_response_error(request, response, MHD_HTTP_NOT_FOUND, -404, "no such path");
    return !route;
}

static void refuse_body(const struct http_server *server, struct exchange *exchange)
{
    char message[80];
    snprintf(message, sizeof message, "the body is larger than %zu bytes",
             server->config.max_body_bytes);
    http_response_error(&exchange->request, &exchange->response, MHD_HTTP_CONTENT_TOO_LARGE, -413,
                        message);
}

/* Every answer leaves here. */
static enum MHD_Result answer(struct http_server *server, struct exchange *exchange)
{
    const struct http_server_config *config = &server->config;
    struct http_request *request = &exchange->request;
    const struct http_route *route = exchange->route;
    http_peer_enters(server->acceptor, peer_of(request->connection), HTTP_AT_WORK);
    request->body = exchange->body.data ? exchange->body.data : "";
    request->body_size_bytes = exchange->body.size_bytes;
    if (!exchange->is_refused && exchange->body_too_large)
        refuse_body(server, exchange);
    else if (!exchange->is_refused)
        route->handler(config->context, request, &exchange->response);
    if (config->observe)
        config->observe(config->context, route ? route->path : "", exchange->response.status,
                        clock_now_ns() - request->arrived_ns);
    return send_response(server, exchange,
                         exchange->body_too_large || exchange->is_malformed ||
                             http_peer_is_beyond(peer_of(request->connection)));
}

static struct exchange *begin_exchange(struct http_server *server,
                                       struct MHD_Connection *connection, const char *path,
                                       const char *method, const char *version)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->request = (struct http_request){.method = method,
                                              .path = http_route_path(path),
                                              .connection = connection,
                                              .arrived_ns = clock_now_ns()};
    exchange->response =
        (struct http_response){.status = MHD_HTTP_OK, .content_type = "application/json"};
    name_request(&exchange->request);
    exchange->route = http_route_find(&server->config, method, exchange->request.path,
                                      &exchange->tail, &exchange->allow);
    exchange->request.tail =
        exchange->tail.failed || !exchange->tail.data ? "" : exchange->tail.data;
    exchange->is_refused = refuse(server, exchange, version);
    CHECK_PTHREAD(pthread_mutex_lock(&server->lock));
    server->in_flight++;
    CHECK_PTHREAD(pthread_mutex_unlock(&server->lock));
    return exchange;
}

/* Whether the answer goes out before the body is read. libmicrohttpd closes the connection then. */
static bool is_answered_early(const struct http_server *server, struct exchange *exchange)
{
    struct MHD_Connection *connection = exchange->request.connection;
    const char *length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    unsigned long long announced = length ? strtoull(length, NULL, 10) : 0;
    bool is_chunked = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                                  MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
    exchange->body_too_large = announced > server->config.max_body_bytes;
    return exchange->body_too_large || exchange->is_malformed ||
           (exchange->is_refused && (is_chunked || announced > REFUSED_BODY_BYTES));
}

/* Counts a piece of the body, and keeps it if somebody will read it. False: too much came. */
static bool take_body(const struct http_server *server, struct exchange *exchange,
                      const char *bytes, size_t size_bytes)
{
    size_t limit = server->config.max_body_bytes;
    exchange->body_bytes += size_bytes;
    if (!exchange->is_refused && !exchange->body_too_large)
        text_append(&exchange->body, bytes, size_bytes);
    exchange->body_too_large |= exchange->body_bytes > limit || exchange->body.failed;
    if (exchange->body_too_large)
        text_clear(&exchange->body);
    return exchange->body_bytes <= BODY_DISCARD_BYTES + limit;
}

/* libmicrohttpd calls this with the headers, with each piece of the body, and at its end. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **exchange_slot)
{
    struct http_server *server = cls;
    struct exchange *exchange = *exchange_slot;
    if (!exchange) {
        if (atomic_load(&server->abandoned))
            return MHD_NO;
        exchange = begin_exchange(server, connection, path, method, version);
        *exchange_slot = exchange;
        if (!exchange)
            return MHD_NO;
        http_peer_enters(server->acceptor, peer_of(connection), HTTP_BODY);
        return is_answered_early(server, exchange) ? answer(server, exchange) : MHD_YES;
    }
    if (*upload_size == 0)
        return answer(server, exchange);
    if (!take_body(server, exchange, upload, *upload_size))
        return MHD_NO;
    *upload_size = 0;
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **exchange_slot,
                         enum MHD_RequestTerminationCode code)
{
    struct http_server *server = cls;
    struct exchange *exchange = *exchange_slot;
    (void)code;
    http_peer_enters(server->acceptor, peer_of(connection), HTTP_IDLE);
    if (!exchange)
        return;
    *exchange_slot = NULL;
    text_clear(&exchange->body);
    text_clear(&exchange->tail);
    text_clear(&exchange->allow);
    text_clear(&exchange->response.body); /* a refusal whose request never ended */
    text_clear(&exchange->response.cookie);
    free(exchange);
    CHECK_PTHREAD(pthread_mutex_lock(&server->lock));
    assert(server->in_flight > 0);
    if (--server->in_flight == 0)
        CHECK_PTHREAD(pthread_cond_signal(&server->all_done));
    CHECK_PTHREAD(pthread_mutex_unlock(&server->lock));
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = cls;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        http_peer_closed(server->acceptor, *socket_context);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = info ? http_peer_opened(server->acceptor, info->connect_fd) : NULL;
}

/* libmicrohttpd closes the socket, also where this fails. */
static void hand_over(void *context, int fd, const struct sockaddr *address, socklen_t size)
{
    struct http_server *server = context;
    (void)MHD_add_connection(server->daemon, fd, address, size);
}

static size_t unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    bool stays = strstr(text, "%00") || strcasestr(text, "%2f");
    return stays ? strlen(text) : MHD_http_unescape(text);
}

__attribute__((format(printf, 2, 0))) static void on_mhd_log(void *cls, const char *format,
                                                             va_list arguments)
{
    struct http_server *server = cls;
    char line[256];
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    log_line_limited(&server->log_limit, LOG_WARN, "libmicrohttpd",
                     json_pack("{s:s, s:s}", "server", server->config.name, "detail", line));
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
    server->listening = http_listen(config->address, &server->port, error);
    if (server->listening < 0) {
        free(server);
        return NULL;
    }
    CHECK_PTHREAD(pthread_mutex_init(&server->lock, NULL));
    clock_cond_init(&server->all_done);
    return server;
}

static bool start_acceptor(struct http_server *server)
{
    const struct http_acceptor_config acceptor = {.name = server->config.name,
                                                  .listening = server->listening,
                                                  .max_connections = server->config.max_connections,
                                                  .max_beyond = CONNECTIONS_TO_REFUSE,
                                                  .hand_over = hand_over,
                                                  .context = server,
                                                  .header_ns = HEADER_TIMEOUT_NS,
                                                  .body_ns = BODY_TIMEOUT_NS,
                                                  .idle_ns = IDLE_TIMEOUT_S * CLOCK_NS_PER_S};
    server->acceptor = http_acceptor_open(&acceptor); /* before it is used by the callbacks */
    return server->acceptor && http_acceptor_start(server->acceptor);
}

bool http_server_serve(struct http_server *server, char error[HTTP_ERROR_SIZE])
{
    const struct http_server_config *config = &server->config;
    /* Without a listening socket: libmicrohttpd's own accept() spins when descriptors run out.
     * poll: select() stops at 1024 descriptors, and epoll does not go with a thread per
     * connection. */
    server->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET,
        0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, server,
        MHD_OPTION_CONNECTION_LIMIT,
        config->max_connections + CONNECTIONS_TO_REFUSE + CONNECTIONS_CLOSING,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S, MHD_OPTION_THREAD_STACK_SIZE,
        CONNECTION_STACK_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_UNESCAPE_CALLBACK, unescape,
        server, MHD_OPTION_END);
    if (server->daemon && start_acceptor(server))
        return true;
    snprintf(error, HTTP_ERROR_SIZE, "%s: the HTTP server did not start", config->address);
    return false;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

/* Lock held. Returns how many requests are left. */
static unsigned wait_until_done(struct http_server *server, int64_t deadline_ns)
{
    struct timespec deadline = clock_timespec(deadline_ns);
    int waited = 0;
    while (server->in_flight > 0 && waited == 0)
        waited = pthread_cond_timedwait(&server->all_done, &server->lock, &deadline);
    return server->in_flight;
}

/* Waits for what is in flight, but not so long for a body. Returns how many requests are left. */
static unsigned drain(struct http_server *server, int64_t deadline_ns)
{
    int64_t bodies_until_ns = clock_now_ns() + BODY_AT_STOP_NS;
    CHECK_PTHREAD(pthread_mutex_lock(&server->lock));
    if (bodies_until_ns < deadline_ns && wait_until_done(server, bodies_until_ns) > 0 &&
        server->acceptor)
        http_acceptor_end_bodies(server->acceptor);
    unsigned left = wait_until_done(server, deadline_ns);
    atomic_store(&server->abandoned, left > 0);
    CHECK_PTHREAD(pthread_mutex_unlock(&server->lock));
    return left;
}

unsigned http_server_stop(struct http_server *server, int64_t deadline_ns)
{
    atomic_store(&server->stopping, true);
    if (server->acceptor)
        http_acceptor_stop(server->acceptor);
    else
        close(server->listening);
    unsigned cut = drain(server, deadline_ns);
    /* A handler cannot be interrupted, and MHD_stop_daemon() would wait for it. */
    if (cut > 0)
        return cut;
    if (server->daemon)
        MHD_stop_daemon(server->daemon); /* joins every connection's thread */
    if (server->acceptor)
        http_acceptor_free(server->acceptor);
    CHECK_PTHREAD(pthread_cond_destroy(&server->all_done));
    CHECK_PTHREAD(pthread_mutex_destroy(&server->lock));
    free(server);
    return 0;
}
