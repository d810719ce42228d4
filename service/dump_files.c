#include "service/dump_files.h"

#include "common/check.h"

#include <dirent.h>

enum { NEWEST = 100 };

static int is_dump(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return strncmp(entry->d_name, "crash-", 6) == 0 && length > 4 &&
           strcmp(entry->d_name + length - 4, ".txt") == 0;
}

json_t *dump_files_list(const char *dir)
{
    struct dirent **entries = NULL;
    json_t *names = json_array();
    /* The time in the name makes the order. */
    int count = names ? scandir(dir, &entries, is_dump, alphasort) : -1;
    for (int i = 0; i < count; i++) {
        if (i >= count - NEWEST)
            json_array_append_new(names, json_string(entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
    return names;
}
