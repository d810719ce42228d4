/*
 * Time. Every duration and deadline in the program is a count of nanoseconds on CLOCK_MONOTONIC,
 * which a change of the wall clock cannot move. Wall time is only printed, never computed with.
 */
#ifndef FLASHOVER_COMMON_CLOCK_H
#define FLASHOVER_COMMON_CLOCK_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_NS_PER_US INT64_C(1000)
#define CLOCK_NS_PER_MS INT64_C(1000000)
#define CLOCK_NS_PER_S  INT64_C(1000000000)
/* A deadline that never comes. */
#define CLOCK_NEVER INT64_MAX
/* Room for "2026-01-31T23:59:59.999Z" and the NUL. */
#define CLOCK_UTC_SIZE 32

/* Nanoseconds on CLOCK_MONOTONIC. */
int64_t clock_now_ns(void);

/* Seconds since the Unix epoch, with a fraction, on CLOCK_REALTIME. */
double clock_unix_seconds(void);

/* Writes the present UTC time as ISO 8601 with milliseconds. */
void clock_format_utc(char out[CLOCK_UTC_SIZE]);

/* The same for a moment on the monotonic clock, right unless the wall clock was set since then. */
void clock_format_utc_at(int64_t at_ns, char out[CLOCK_UTC_SIZE]);

/* A monotonic time as pthread_cond_timedwait takes it. */
struct timespec clock_timespec(int64_t at_ns);

/* Milliseconds from now to the deadline, rounded up, at least 0 and at most `cap_ms`: a poll()
 * timeout. */
int clock_poll_ms(int64_t deadline_ns, int cap_ms);

/* Sleeps until the monotonic time `at_ns`; returns at once when it has passed. */
void clock_sleep_until(int64_t at_ns);

/* Waits for a post of the semaphore, and takes it. False: the deadline passed first. */
bool clock_sem_wait(sem_t *semaphore, int64_t deadline_ns);

/* Initialises a condition variable whose timed waits run on CLOCK_MONOTONIC. */
void clock_cond_init(pthread_cond_t *cond);

#endif
