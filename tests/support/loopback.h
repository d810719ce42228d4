/*
 * For clients under test, on free ports of 127.0.0.1: a server whose answers the test decides, a
 * port that never answers, and one that refuses.
 */
#ifndef FLASHOVER_TESTS_SUPPORT_LOOPBACK_H
#define FLASHOVER_TESTS_SUPPORT_LOOPBACK_H

#include "common/http/server.h"

#include <pthread.h>

#define LOOPBACK_TOKEN "let-me-in"

enum {
    LOOPBACK_URL_SIZE = 48,
    LOOPBACK_REPLIES_MAX = 16,
    LOOPBACK_ROUTES = 5,
    LOOPBACK_BODY_SIZE = 256
};

struct loopback_reply {
    const char *request; /* "GET /metrics"; borrowed */
    int status;
    const char *body; /* borrowed */
    bool used;
};

/* Has the service's routes for these clients: GET /metrics, /readyz, /v1/toggles and /v1/feeds/ID,
 * PATCH /v1/toggles. */
struct loopback {
    char url[LOOPBACK_URL_SIZE]; /* "http://127.0.0.1:12345" */
    struct http_server_config config;
    struct http_server *server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held; /* under the lock, as is the rest */
    struct loopback_reply replies[LOOPBACK_REPLIES_MAX];
    size_t reply_count;
    struct {
        unsigned asked;
        char body[LOOPBACK_BODY_SIZE]; /* of the latest request */
    } routes[LOOPBACK_ROUTES];
};

/* With a token, a request without it is answered 401. NULL: no request needs one. */
void loopback_start(struct loopback *loopback, const char *token);
void loopback_stop(struct loopback *loopback);

/* Adds an answer to such requests. Each answer is given once, the last one again and again. Without
 * any, the answer is a 404. */
void loopback_reply(struct loopback *loopback, const char *request, int status, const char *body);

/* While `held`, no request is answered. */
void loopback_hold(struct loopback *loopback, bool held);

/* How many such requests have come, without those answered 401. */
unsigned loopback_asked(struct loopback *loopback, const char *request);

/* Copies the body of the latest such request; "" if it had none. */
void loopback_latest_body(struct loopback *loopback, const char *request,
                          char out[LOOPBACK_BODY_SIZE]);

/* Takes a port that accepts connections and stays silent (is_open), or that refuses them. The
 * caller closes the descriptor. */
int loopback_take_port(bool is_open, char url[LOOPBACK_URL_SIZE]);

/* Writes a file with this text. `path` is a template that ends in XXXXXX, and becomes the path. */
void loopback_write_file(char *path, const char *text);

#endif
