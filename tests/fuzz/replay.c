/*
 * Feeds files to a fuzz target, without libFuzzer: what was found once is looked for in every test
 * run, with any compiler. Arguments: files, or folders of files.
 */
#include "tests/fuzz/input.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "re");
    struct stat status;
    if (!file || fstat(fileno(file), &status)) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    size_t size = (size_t)status.st_size;
    uint8_t *bytes = malloc(size ? size : 1);
    assert(bytes);
    bool is_whole = fread(bytes, 1, size, file) == size;
    fclose(file);
    if (is_whole) {
        fprintf(stderr, "%s\n", path); /* the last one named is the one that failed */
        LLVMFuzzerTestOneInput(bytes, size);
    }
    free(bytes);
    return is_whole ? 0 : -1;
}

static int replay_folder(const char *path, unsigned *count)
{
    int failed = 0;
    DIR *folder = opendir(path);
    if (!folder) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    for (struct dirent *entry; !failed && (entry = readdir(folder));) {
        char inside[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        failed = replay_file(inside);
        ++*count;
    }
    closedir(folder);
    return failed;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++) {
        struct stat status;
        bool is_folder = stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode);
        if (is_folder ? replay_folder(argv[i], &count) : replay_file(argv[i]))
            return 1;
        count += !is_folder;
    }
    printf("%u inputs\n", count);
    return count == 0; /* a replay of nothing proves nothing */
}
