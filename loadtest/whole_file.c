#include "loadtest/whole_file.h"

#include "common/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

int whole_file_write(const char *path, const char *bytes, size_t size_bytes, char *why,
                     size_t why_size)
{
    char temporary[4096];
    int fd = -1;
    FILE *file = NULL;
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary) {
        snprintf(why, why_size, "the name is too long");
        return -1;
    }
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        goto failed; /* nothing to remove */
    file = fdopen(fd, "w");
    if (!file) {
        int error = errno;
        close(fd);
        unlink(temporary);
        errno = error;
        goto failed;
    }
    fchmod(fd, 0644);
    bool written = fwrite(bytes, 1, size_bytes, file) == size_bytes;
    written = fclose(file) == 0 && written;
    if (!written || rename(temporary, path) != 0) {
        int error = errno;
        unlink(temporary);
        errno = error;
        goto failed;
    }
    return 0;
failed:
    snprintf(why, why_size, "cannot write %s: %s", path, strerrordesc_np(errno));
    return -1;
}
