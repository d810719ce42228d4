#include "service/dump/files.h"

#include "common/check.h"

#include <dirent.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_named(const char *name, const char *begin, const char *end)
{
    size_t length = strlen(name);
    return strncmp(name, begin, strlen(begin)) == 0 && length > strlen(end) &&
           strcmp(name + length - strlen(end), end) == 0;
}

static int is_dump(const struct dirent *entry)
{
    return is_named(entry->d_name, "crash-", ".txt");
}

static int is_pool_events(const struct dirent *entry)
{
    return is_named(entry->d_name, "pool-events-", ".jsonl");
}

json_t *dump_files_list(const char *dir)
{
    struct dirent **entries = NULL;
    json_t *names = json_array();
    /* The time in the name makes the order. */
    int count = names ? scandir(dir, &entries, is_dump, alphasort) : -1;
    for (int i = 0; i < count; i++) {
        if (i >= count - DUMP_FILES_KEPT)
            json_array_append_new(names, json_string(entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
    return names;
}

/* From the newest to the oldest: what is beyond either limit goes, but never the newest. */
static void trim(const char *dir, int (*is_ours)(const struct dirent *entry), int64_t bytes_kept)
{
    struct dirent **entries = NULL;
    int count = scandir(dir, &entries, is_ours, alphasort);
    int64_t bytes = 0;
    for (int i = count - 1; i >= 0; i--) {
        char path[4096];
        struct stat status;
        int size = snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        if (size < (int)sizeof path && lstat(path, &status) == 0 && S_ISREG(status.st_mode)) {
            bytes += status.st_size;
            if (i < count - 1 && (count - i > DUMP_FILES_KEPT || bytes > bytes_kept))
                unlink(path);
        }
        free(entries[i]);
    }
    free(entries);
}

void dump_files_trim(const char *dir)
{
    trim(dir, is_dump, DUMP_BYTES_KEPT);
    trim(dir, is_pool_events, DUMP_BYTES_KEPT);
}
