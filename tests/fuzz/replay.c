/*
 * Feeds files to a fuzz target without libFuzzer, so that every test run replays earlier findings,
 * with any compiler. Arguments: the files.
 */
#include "tests/fuzz/input.h"

#include <errno.h>
#include <sys/stat.h>

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "re");
    struct stat status;
    if (!file || fstat(fileno(file), &status)) {
        fprintf(stderr, "%s: %s\n", path, strerrordesc_np(errno));
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

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (replay_file(argv[i]))
            return 1;
    printf("%d inputs\n", argc - 1);
    return argc < 2; /* without files nothing was tested */
}
