#include "common/stop.h"

#include "common/check.h"
#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct stop *signalled; /* set once, before the handlers are */

bool stop_init(struct stop *stop)
{
    atomic_init(&stop->reason, 0);
    stop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return stop->event_fd >= 0;
}

void stop_destroy(struct stop *stop)
{
    close(stop->event_fd);
    stop->event_fd = -1;
}

void stop_request(struct stop *stop, int reason)
{
    int none = 0;
    uint64_t one = 1;
    atomic_compare_exchange_strong(&stop->reason, &none, reason);
    /* It can only fail when the counter is full, and then the descriptor is readable already. */
    ssize_t written = write(stop->event_fd, &one, sizeof one);
    (void)written;
}

bool stop_requested(const struct stop *stop)
{
    return atomic_load(&stop->reason) != 0;
}

bool stop_wait_until(const struct stop *stop, int64_t at_ns)
{
    struct pollfd watched = {.fd = stop->event_fd, .events = POLLIN};
    while (!stop_requested(stop)) {
        int timeout_ms = clock_poll_ms(at_ns, 60000);
        if (timeout_ms == 0)
            return false;
        int ready = poll(&watched, 1, timeout_ms);
        assert(ready >= 0 || errno == EINTR);
    }
    return true;
}

static void on_signal(int number)
{
    int saved = errno;
    stop_request(signalled, number);
    errno = saved;
}

void stop_on_signals(struct stop *stop)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    struct sigaction former;
    signalled = stop;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int failed = sigaction(numbers[i], NULL, &former);
        /* nohup's choice stays */
        if (numbers[i] != SIGHUP || former.sa_handler != SIG_IGN)
            failed |= sigaction(numbers[i], &action, NULL);
        assert(!failed);
    }
    stop_ignore_file_signals();
}

void stop_ignore_file_signals(void)
{
    bool ok = signal(SIGPIPE, SIG_IGN) != SIG_ERR && signal(SIGXFSZ, SIG_IGN) != SIG_ERR;
    assert(ok);
}
