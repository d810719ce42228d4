#include "loadtest/selftest/wire.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/stop.h"
#include "loadtest/selftest/scenes.h"
#include "loadtest/selftest/stall_server.h"

#include <arpa/inet.h>
#include <math.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define INTERVAL_NS (20 * CLOCK_NS_PER_MS)
#define PROBES_MAX  8192

struct selftest_wire {
    struct stall_server *server;
    struct stop stop;
    int fd;
    pthread_t thread;
    size_t count;
    int64_t read_at_ns[PROBES_MAX];
};

/* One request and its answer, which comes in one piece: it is short, and was written at once. */
static bool probe(struct selftest_wire *wire)
{
    static const char request[] = "GET /v1/feeds/7 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    char answer[4096];
    if (send(wire->fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1)
        return false;
    ssize_t got = recv(wire->fd, answer, sizeof answer, 0);
    wire->read_at_ns[wire->count] = clock_now_ns();
    wire->count += got > 0;
    return got > 0;
}

static void *caller_main(void *argument)
{
    struct selftest_wire *wire = argument;
    while (wire->count < PROBES_MAX && probe(wire) &&
           !stop_wait_until(&wire->stop, clock_now_ns() + INTERVAL_NS))
        ;
    return NULL;
}

struct selftest_wire *selftest_wire_start(char *why, size_t why_size)
{
    struct timeval patience = {.tv_sec = 5};
    struct selftest_wire *wire = calloc(1, sizeof *wire);
    snprintf(why, why_size, "the plain caller cannot start");
    if (!wire)
        return NULL;
    wire->fd = wire->stop.event_fd = -1;
    wire->server = stall_server_start(&selftest_scene_steady, PROBES_MAX, why, why_size);
    if (!wire->server)
        goto failed;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(stall_server_port(wire->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    wire->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (wire->fd < 0 || setsockopt(wire->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ||
        connect(wire->fd, (struct sockaddr *)&address, sizeof address) || !stop_init(&wire->stop) ||
        pthread_create(&wire->thread, NULL, caller_main, wire))
        goto failed;
    return wire;
failed:
    if (wire->stop.event_fd >= 0)
        stop_destroy(&wire->stop);
    if (wire->fd >= 0)
        close(wire->fd);
    stall_server_free(wire->server);
    free(wire);
    return NULL;
}

double selftest_wire_finish_ms(struct selftest_wire *wire)
{
    double sum_ns = 0;
    stop_request(&wire->stop, STOP_BY_REST);
    CHECK_PTHREAD(pthread_join(wire->thread, NULL));
    const struct stall_record *record = stall_server_finish(wire->server);
    for (size_t i = 0; i < wire->count; i++)
        sum_ns += (double)(wire->read_at_ns[i] - record->served[i].answered_ns);
    double mean_ms =
        wire->count > 0 ? sum_ns / (double)wire->count / (double)CLOCK_NS_PER_MS : (double)NAN;
    stop_destroy(&wire->stop);
    close(wire->fd);
    stall_server_free(wire->server);
    free(wire);
    return mean_ms;
}
