#include "common/log.h"

#include "common/check.h"
#include "common/clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

/* How long a line waits for room on a stderr that does not block. */
#define READER_NS CLOCK_NS_PER_S

static pthread_mutex_t log_lock =
    PTHREAD_MUTEX_INITIALIZER; /* guards the order of lines on stderr */
static void (*hook_before_lock)(void);
static void (*hook_after_unlock)(void);

void log_set_lock_hooks(void (*before_lock)(void), void (*after_unlock)(void))
{
    hook_before_lock = before_lock;
    hook_after_unlock = after_unlock;
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_INFO:
        return "info";
    case LOG_WARN:
        return "warn";
    case LOG_ERROR:
        return "error";
    }
    return "?";
}

/* Async-signal-safe. */
static bool is_writable_by(int64_t deadline_ns)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    int ready;
    while ((ready = poll(&out, 1, clock_poll_ms(deadline_ns, 60000))) < 0 && errno == EINTR)
        continue;
    return ready > 0;
}

/* Writes pieces of at most this many bytes; returns how many bytes went out. */
static size_t write_pieces(const char *bytes, size_t size_bytes, size_t piece_bytes,
                           int64_t deadline_ns)
{
    size_t done = 0;
    while (done < size_bytes) {
        if (piece_bytes < SIZE_MAX && !is_writable_by(deadline_ns))
            break;
        size_t piece = size_bytes - done < piece_bytes ? size_bytes - done : piece_bytes;
        ssize_t written = write(STDERR_FILENO, bytes + done, piece);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && errno == EAGAIN && clock_now_ns() < deadline_ns &&
            is_writable_by(deadline_ns))
            continue; /* another program has made our stderr non-blocking */
        if (written <= 0)
            break; /* the disk is full, or the log's reader is gone */
        done += (size_t)written;
    }
    return done;
}

/* A pipe that takes anything takes PIPE_BUF bytes without blocking (pipe(7)). */
void log_write_bytes_until(const char *bytes, size_t size_bytes, int64_t deadline_ns)
{
    (void)write_pieces(bytes, size_bytes, PIPE_BUF, deadline_ns);
}

/* The log's lock is held. A line that was cut gets its end before the next one. */
static void write_line(const char *line, size_t size_bytes)
{
    static bool is_cut;
    int64_t deadline_ns = clock_now_ns() + READER_NS;
    if (is_cut && write_pieces("\n", 1, SIZE_MAX, deadline_ns) == 1)
        is_cut = false;
    if (is_cut)
        return;
    size_t done = write_pieces(line, size_bytes, SIZE_MAX, deadline_ns);
    is_cut = done > 0 && done < size_bytes;
}

void log_line(enum log_level level, const char *message, json_t *fields)
{
    char now[CLOCK_UTC_SIZE];
    clock_format_utc(now);
    json_t *line =
        json_pack("{s:s, s:s, s:s}", "time", now, "level", level_name(level), "message", message);
    if (!line)
        line = json_pack("{s:s, s:s, s:s}", "time", now, "level", level_name(level), "message",
                         "(a message that is not UTF-8)");
    if (line && fields)
        json_object_update_missing(line, fields);
    json_decref(fields);
    char *out = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (!out)
        return;
    size_t length = strlen(out);
    out[length] = '\n'; /* the NUL's place: what is written is counted, not terminated */

    if (hook_before_lock)
        hook_before_lock();
    CHECK_PTHREAD(pthread_mutex_lock(&log_lock));
    write_line(out, length + 1);
    CHECK_PTHREAD(pthread_mutex_unlock(&log_lock));
    if (hook_after_unlock)
        hook_after_unlock();
    free(out);
}

/* Two threads at a second's turn may both reset the count: then a few lines more are written. */
bool log_limit_take(struct log_limit *limit, uint64_t *left_out)
{
    int64_t second = clock_now_ns() / CLOCK_NS_PER_S;
    unsigned per_s = limit->per_s ? limit->per_s : LOG_LIMIT_PER_S;
    if (atomic_exchange(&limit->second, second) != second)
        atomic_store(&limit->written, 0);
    bool may = atomic_fetch_add(&limit->written, 1) < per_s;
    if (may)
        *left_out = atomic_exchange(&limit->left_out, 0);
    else
        atomic_fetch_add(&limit->left_out, 1);
    return may;
}

void log_line_limited(struct log_limit *limit, enum log_level level, const char *message,
                      json_t *fields)
{
    uint64_t left_out;
    if (!log_limit_take(limit, &left_out)) {
        json_decref(fields);
        return;
    }
    if (left_out > 0 && fields)
        json_object_set_new(fields, "left_out", json_integer((json_int_t)left_out));
    log_line(level, message, fields);
}
