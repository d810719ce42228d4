/*
 * What callers send to an HTTP port, over a real connection. Each answer must have the form of one,
 * there are no more of them than requests can have begun, and the server closes what it cannot
 * follow. Input: a byte, how much of the rest is sent first; then the bytes.
 */
#include "common/http/server.h"

#include "tests/fuzz/input.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWERS_SIZE = 256 << 10, ANSWER_MS = 5000, MAX_BODY = 200 };

static struct http_server *server;

static void echo(void *context, const struct http_request *request, struct http_response *response)
{
    (void)context;
    assert(request->body && request->body_size_bytes <= MAX_BODY);
    assert(strlen(request->id) > 0 && request->path[0] == '/');
    text_addf(&response->body, "%s %zu", request->tail, request->body_size_bytes);
}

static void start_server(void)
{
    static const struct http_route routes[] = {
        {"GET", "/a", echo}, {"GET", "/a/*", echo}, {"PATCH", "/a", echo}, {"POST", "/a/*", echo}};
    static const struct http_server_config config = {.name = "fuzzed",
                                                     .address = "127.0.0.1:0",
                                                     .max_connections = 16,
                                                     .max_body_bytes = MAX_BODY,
                                                     .own_pages_only = true,
                                                     .routes = routes,
                                                     .route_count =
                                                         sizeof routes / sizeof routes[0]};
    char error[HTTP_ERROR_SIZE];
    sigset_t timer; /* libFuzzer's: it would interrupt our calls every few seconds */
    sigemptyset(&timer);
    sigaddset(&timer, SIGALRM);
    assert(pthread_sigmask(SIG_BLOCK, &timer, NULL) == 0);
    server = http_server_open(&config, error);
    assert(server && http_server_serve(server, error));
}

static int connect_to_it(void)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(http_server_port(server)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(fd >= 0);
    assert(connect(fd, (const struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* The server may have closed the connection already. */
static void send_bytes(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        size -= (size_t)sent;
    }
}

/* All that comes until the server closes the connection, which it must soon. */
static size_t read_answers(int fd, char *answers)
{
    size_t used = 0;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert(poll(&wait, 1, ANSWER_MS) == 1);
        assert(used < ANSWERS_SIZE - 1);
        ssize_t got = recv(fd, answers + used, ANSWERS_SIZE - 1 - used, 0);
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    answers[used] = '\0';
    return used;
}

/* A request begins at the start, or behind a line feed at the earliest. */
static size_t requests_at_most(const uint8_t *data, size_t size)
{
    size_t count = 1;
    for (size_t i = 0; i < size; i++)
        count += data[i] == '\n';
    return count;
}

static size_t count_answers(const char *answers)
{
    size_t count = 0;
    for (const char *at = answers; (at = strstr(at, "HTTP/1.1 ")); at += 9) {
        int status = atoi(at + 9);
        assert(status == 100 || status == 200 || (status >= 400 && status < 500) || status == 501 ||
               status == 505);
        count += status != 100;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    static char answers[ANSWERS_SIZE];
    struct fuzz_input input = {data, size_bytes};
    if (!server)
        start_server();
    size_t first = fuzz_byte(&input);
    first = first < input.left ? first : input.left;
    int fd = connect_to_it();
    send_bytes(fd, input.at, first);
    send_bytes(fd, input.at + first, input.left - first);
    shutdown(fd, SHUT_WR);
    size_t used = read_answers(fd, answers);
    close(fd);
    assert(used == 0 || strncmp(answers, "HTTP/1.", 7) == 0);
    assert(count_answers(answers) <= requests_at_most(input.at, input.left));
    return 0;
}
