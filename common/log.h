/*
 * Logs as JSON lines on stderr: {"time":…,"level":…,"message":…, fields…}. One write(2) a line, so
 * that lines of several threads never mix. The lock is one for the process, as the lock of stdout
 * is in a Go program.
 */
#ifndef FLASHOVER_COMMON_LOG_H
#define FLASHOVER_COMMON_LOG_H

#include <jansson.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_INFO, LOG_WARN, LOG_ERROR };

/* Writes one line. `message` is text, never a format. `fields` is a JSON object whose members
 * follow the message; it is stolen. NULL gives a line without fields: so does json_pack when it
 * refuses bytes that are not UTF-8. */
void log_line(enum log_level level, const char *message, json_t *fields);

/* For a line that a stranger can cause as often as he likes: so many are written each second, and
 * the rest is counted. Zero at first but for per_s; shared by threads. */
struct log_limit {
    unsigned per_s;         /* 0: LOG_LIMIT_PER_S */
    _Atomic int64_t second; /* the one that `written` counts, on the monotonic clock */
    _Atomic unsigned written;
    _Atomic uint64_t left_out; /* since the last line that was written */
};
#define LOG_LIMIT_PER_S 5

/* Whether one more line may be written now; *left_out: so many were not, since the last one. */
bool log_limit_take(struct log_limit *limit, uint64_t *left_out);

/* Writes the line, or counts it as left out. The next line that is written has the number as
 * "left_out". `fields` is stolen in both cases. */
void log_line_limited(struct log_limit *limit, enum log_level level, const char *message,
                      json_t *fields);

/* Writes all bytes to stderr as they are. Gives up when its reader is gone, where the disk is full,
 * and at deadline_ns (monotonic) where the reader does not read. Takes no lock. Async-signal-safe.
 */
void log_write_bytes_until(const char *bytes, size_t size_bytes, int64_t deadline_ns);

/* Called in the calling thread before it waits for the log's lock and after it gave the lock back.
 * Set once, before threads start; either may be NULL. The service shows threads that wait here as
 * "log lock". */
void log_set_lock_hooks(void (*before_lock)(void), void (*after_unlock)(void));

#endif
