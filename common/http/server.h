/*
 * An HTTP/1.1 server over libmicrohttpd, one thread per connection, so that a handler is
 * straight-line blocking code. It answers unknown paths (404), wrong methods (405 with Allow),
 * large bodies (413) and connections above the limit (503) by itself, gives every answer an
 * X-Request-Id, and stops without cutting an answer short.
 */
#ifndef FLASHOVER_COMMON_HTTP_SERVER_H
#define FLASHOVER_COMMON_HTTP_SERVER_H

#include "common/text.h"

#include <jansson.h>

#include <stdint.h>

#define HTTP_REQUEST_ID_SIZE 65
#define HTTP_ERROR_SIZE      256

struct MHD_Connection;
struct http_login;

struct http_request {
    const char *method;
    const char *path; /* percent-decoded; left as it came where it holds %00, which would end a C
                         string, or %2F, which is no separator */
    const char *tail; /* what stands in place of the route's '*'; "" without one */
    const char *body; /* NUL-terminated; "" when there is none */
    size_t body_size_bytes;
    char id[HTTP_REQUEST_ID_SIZE];
    int64_t arrived_ns; /* monotonic: when its headers were read */
    struct MHD_Connection *connection;
};

/* An answer whose end is not known when it begins, as server-sent events are. */
struct http_stream {
    /* Appends the next piece, or returns false at the end. Called in the connection's thread when
     * the client has taken what came before, so a slow client holds up nothing but its own thread.
     * It may block, but a client that hung up is noticed only by the next piece: at most a second
     * or so. It must end by itself when the program is to stop. */
    bool (*next)(void *context, struct text *piece);
    void (*release)(void *context); /* called once, however the answer ends */
    void *context;
};

/* Filled by a handler; the server frees the texts. */
struct http_response {
    int status;
    const char *content_type;
    struct text body;
    struct http_stream stream; /* with `next` set, this is sent in the body's place */
    int retry_after_s;         /* 0: no Retry-After */
    char location[128];        /* "": no Location */
    struct text cookie;        /* the value of Set-Cookie; empty: none */
};

/* Runs in the connection's own thread. */
typedef void http_handler(void *context, const struct http_request *request,
                          struct http_response *response);

struct http_route {
    const char *method; /* a GET route answers HEAD too */
    const char *path; /* at most one '*', which stands for one or more characters without a slash */
    http_handler *handler;
};

struct http_server_config {
    const char *name;    /* "public": in logs and errors */
    const char *address; /* HOST:PORT; port 0 takes a free one */
    /* When so many are open, the one that has waited longest for a request is closed for a new one.
     * With all at work, a new one is refused, but for /healthz and /readyz. */
    unsigned max_connections;
    size_t max_body_bytes;
    const char *token; /* when not NULL, every request must carry "Authorization: Bearer TOKEN"
                          (else 401) */
    /* Not NULL: a browser's cookie does as well, and a page that it asks for without is the form
     * (login.h). */
    const struct http_login *login;
    /* Refuses (403) what a browser sends on behalf of another site's page: token.h. */
    bool own_pages_only;
    const struct http_route *routes;
    size_t route_count;
    void *context; /* handed to handlers and the observer */
    /* Called once per answer, after the handler, in the connection's thread; may be NULL. `route`
     * is the route's path. */
    void (*observe)(void *context, const char *route, int status, int64_t duration_ns);
};

struct http_server;

/* Takes the address: callers can connect, and wait for http_server_serve(). `config` and what it
 * points to must outlive the server. On failure returns NULL and one line in `error` that names the
 * address. */
struct http_server *http_server_open(const struct http_server_config *config,
                                     char error[HTTP_ERROR_SIZE])
    __attribute__((warn_unused_result));

/* Begins to answer. On failure returns false with one line in `error`; the server is then still to
 * be stopped. */
bool http_server_serve(struct http_server *server, char error[HTTP_ERROR_SIZE])
    __attribute__((warn_unused_result));

/* The port that is listened on, host byte order. */
uint16_t http_server_port(const struct http_server *server);

/* Stops listening, answers what is in flight with "Connection: close" until `deadline_ns`, and
 * frees the server. Returns the number of requests that were not finished by then: where there are
 * any, their threads go on and the server stays, and the process had better end. Call once, from no
 * handler. */
unsigned http_server_stop(struct http_server *server, int64_t deadline_ns);

/* How often the query string names `name`; *value is the last one's value ("" for none). */
unsigned http_request_argument(const struct http_request *request, const char *name,
                               const char **value);

/* Makes the response the one error shape: {"ecode":…,"message":…,"request_id":…}. */
void http_response_error(const struct http_request *request, struct http_response *response,
                         int status, int ecode, const char *message);

/* The same for the caller's mistake and for a limit: ecode is minus the status. */
void http_response_refuse(const struct http_request *request, struct http_response *response,
                          int status, const char *message);

/* Makes the response a JSON document, which is stolen. NULL: there was no memory to make it, and
 * the answer is 503. */
void http_response_json(const struct http_request *request, struct http_response *response,
                        json_t *document);

#endif
