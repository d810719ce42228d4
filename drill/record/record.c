#include "drill/record/record.h"

#include "common/check.h"
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "record.jsonl"
/* No line of ours is longer; one in the file that is, is passed over. */
#define LINE_MAX_BYTES (1 << 20)

struct record {
    int fd;
    off_t size_bytes; /* of whole lines */
    char trouble[128];
};

/* The end of the last whole line. */
static off_t whole_size(int fd, off_t size)
{
    char block[4096];
    while (size > 0) {
        size_t length = size < (off_t)sizeof block ? (size_t)size : sizeof block;
        if (pread(fd, block, length, size - (off_t)length) != (ssize_t)length)
            return -1;
        for (size_t i = length; i > 0; i--)
            if (block[i - 1] == '\n')
                return size - (off_t)(length - i);
        size -= (off_t)length;
    }
    return 0;
}

struct record *record_open(const char *folder, char *why, size_t why_size)
{
    char path[PATH_MAX];
    struct record *record = calloc(1, sizeof *record);
    snprintf(path, sizeof path, "%s/" FILE_NAME, folder);
    if (!record || (mkdir(folder, 0700) != 0 && errno != EEXIST)) {
        snprintf(why, why_size, "%s: %s", folder, strerror(errno));
        free(record);
        return NULL;
    }
    record->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    off_t size = record->fd >= 0 ? lseek(record->fd, 0, SEEK_END) : -1;
    record->size_bytes = size >= 0 ? whole_size(record->fd, size) : -1;
    if (record->size_bytes < 0 || ftruncate(record->fd, record->size_bytes) != 0) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        record_close(record);
        return NULL;
    }
    return record;
}

void record_close(struct record *record)
{
    if (record && record->fd >= 0)
        close(record->fd);
    free(record);
}

/* Appends the bytes, or leaves the file as it was. */
static bool append_bytes(struct record *record, const char *bytes, size_t size, bool durable)
{
    size_t done = 0;
    while (done < size) {
        ssize_t wrote =
            pwrite(record->fd, bytes + done, size - done, record->size_bytes + (off_t)done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            break;
        done += (size_t)wrote;
    }
    if (done == size && (!durable || fdatasync(record->fd) == 0)) {
        record->size_bytes += (off_t)size;
        record->trouble[0] = '\0';
        return true;
    }
    snprintf(record->trouble, sizeof record->trouble, "%s", strerror(errno));
    (void)!ftruncate(record->fd, record->size_bytes); /* else the next start cuts it off */
    return false;
}

bool record_append(struct record *record, const char *kind, json_t *fields, bool durable)
{
    char at[CLOCK_UTC_SIZE];
    clock_format_utc(at);
    json_t *line = json_pack("{s:s, s:f, s:s}", "at", at, "mono_s",
                             (double)clock_now_ns() / CLOCK_NS_PER_S, "kind", kind);
    bool made = line && fields && json_object_update_missing(line, fields) == 0;
    char *text = made ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(fields);
    json_decref(line);
    size_t length = text ? strlen(text) : 0;
    bool ok = false;
    if (text) {
        text[length] = '\n'; /* in place of the NUL */
        ok = append_bytes(record, text, length + 1, durable);
    } else {
        snprintf(record->trouble, sizeof record->trouble, "out of memory");
    }
    free(text);
    return ok;
}

const char *record_trouble(const struct record *record)
{
    return record->trouble;
}

int record_read(const char *folder, bool (*take)(void *context, const json_t *line), void *context)
{
    char path[PATH_MAX];
    char *text = NULL;
    size_t capacity = 0;
    int passed_over = 0;
    bool more = true;
    snprintf(path, sizeof path, "%s/" FILE_NAME, folder);
    FILE *stream = fopen(path, "re");
    if (!stream)
        return -1;
    while (more) {
        ssize_t length = getline(&text, &capacity, stream);
        if (length <= 0 || text[length - 1] != '\n')
            break; /* a last line without an end is not whole */
        json_t *line = length <= LINE_MAX_BYTES ? json_loadb(text, (size_t)length, 0, NULL) : NULL;
        if (json_is_object(line))
            more = take(context, line);
        else
            passed_over++;
        json_decref(line);
    }
    free(text);
    fclose(stream);
    return passed_over;
}
