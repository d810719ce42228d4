/*
 * Logs as JSON lines on stderr: {"time":…,"level":…,"message":…, fields…}. One write(2) a line, so
 * that lines of several threads never mix. The lock is one for the process, as the lock of stdout
 * is in a Go program.
 */
#ifndef FLASHOVER_LOG_H
#define FLASHOVER_LOG_H

#include <jansson.h>

enum log_level { LOG_INFO, LOG_WARN, LOG_ERROR };

/* Writes one line. `message` is text, never a format. `fields` is a JSON object whose members
 * follow the message; it is stolen, and may be NULL (also where json_pack refused bytes that are
 * not UTF-8: the line then
 * has none). */
void log_line(enum log_level level, const char *message, json_t *fields);

/* Writes bytes to stderr as they are, all of them unless nobody reads it any more. Takes no lock.
 * Async-signal-safe. */
void log_write_bytes(const char *bytes, size_t size_bytes);

/* Called before the log's lock is waited for and after it was given back, in the calling thread.
 * Set once, before threads start; either may be NULL. The service shows threads that wait here as
 * "log lock". */
void log_set_lock_hooks(void (*before_lock)(void), void (*after_unlock)(void));

#endif
