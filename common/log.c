#include "common/log.h"

#include "common/check.h"
#include "common/clock.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

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

void log_write_bytes(const char *bytes, size_t size_bytes)
{
    while (size_bytes > 0) {
        ssize_t written = write(STDERR_FILENO, bytes, size_bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* nobody reads the log any more; there is nowhere left to say so */
        bytes += written;
        size_bytes -= (size_t)written;
    }
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
    log_write_bytes(out, length + 1);
    CHECK_PTHREAD(pthread_mutex_unlock(&log_lock));
    if (hook_after_unlock)
        hook_after_unlock();
    free(out);
}
