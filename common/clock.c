#include "common/clock.h"

#include "common/check.h"

#include <errno.h>

static int64_t read_ns(clockid_t id)
{
    struct timespec now;
    int failed = clock_gettime(id, &now);
    assert(!failed);
    return (int64_t)now.tv_sec * CLOCK_NS_PER_S + now.tv_nsec;
}

int64_t clock_now_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

double clock_unix_seconds(void)
{
    return (double)read_ns(CLOCK_REALTIME) / (double)CLOCK_NS_PER_S;
}

static void format_utc(int64_t unix_ns, char out[CLOCK_UTC_SIZE])
{
    time_t seconds = (time_t)(unix_ns / CLOCK_NS_PER_S);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t used = strftime(out, CLOCK_UTC_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + used, CLOCK_UTC_SIZE - used, ".%03dZ",
             (int)(unix_ns % CLOCK_NS_PER_S / CLOCK_NS_PER_MS));
}

void clock_format_utc(char out[CLOCK_UTC_SIZE])
{
    format_utc(read_ns(CLOCK_REALTIME), out);
}

void clock_format_utc_at(int64_t at_ns, char out[CLOCK_UTC_SIZE])
{
    format_utc(read_ns(CLOCK_REALTIME) - (clock_now_ns() - at_ns), out);
}

struct timespec clock_timespec(int64_t at_ns)
{
    return (struct timespec){.tv_sec = (time_t)(at_ns / CLOCK_NS_PER_S),
                             .tv_nsec = (long)(at_ns % CLOCK_NS_PER_S)};
}

int clock_poll_ms(int64_t deadline_ns, int cap_ms)
{
    int64_t left_ns = deadline_ns - clock_now_ns();
    if (left_ns <= 0)
        return 0;
    if (left_ns >= cap_ms * CLOCK_NS_PER_MS)
        return cap_ms;
    return (int)((left_ns + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS);
}

void clock_sleep_until(int64_t at_ns)
{
    struct timespec at = clock_timespec(at_ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

bool clock_sem_wait(sem_t *semaphore, int64_t deadline_ns)
{
    struct timespec deadline = clock_timespec(deadline_ns);
    int failed;
    while ((failed = sem_clockwait(semaphore, CLOCK_MONOTONIC, &deadline)) && errno == EINTR)
        continue;
    assert(!failed || errno == ETIMEDOUT);
    return !failed;
}

void clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    CHECK_PTHREAD(pthread_condattr_init(&attributes));
    CHECK_PTHREAD(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    CHECK_PTHREAD(pthread_cond_init(cond, &attributes));
    CHECK_PTHREAD(pthread_condattr_destroy(&attributes));
}
