#include "loadtest/base/whole_file.h"

#include "common/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY_SIZE 4096

static bool cannot_write(const char *path, int error, char *why, size_t why_size)
{
    snprintf(why, why_size, "cannot write %.300s: %s", path, strerrordesc_np(error));
    return false;
}

/* A temporary file beside `path`; its name goes into `temporary`. -1 with errno set otherwise. */
static int make_temporary(const char *path, char temporary[TEMPORARY_SIZE])
{
    if (snprintf(temporary, TEMPORARY_SIZE, "%s" WHOLE_FILE_TEMPORARY "XXXXXX", path) <
        TEMPORARY_SIZE)
        return mkostemp(temporary, O_CLOEXEC);
    errno = ENAMETOOLONG;
    return -1;
}

/* A device, a pipe or a terminal: it stays, and is written to. */
static bool is_special(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

bool whole_file_try(const char *path, char *why, size_t why_size)
{
    char temporary[TEMPORARY_SIZE];
    struct stat status;
    if (!path[0])
        return cannot_write("''", ENOENT, why, why_size);
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return cannot_write(path, EISDIR, why, why_size);
    if (is_special(path))
        return access(path, W_OK) == 0 || cannot_write(path, errno, why, why_size);
    int fd = make_temporary(path, temporary);
    if (fd < 0)
        return cannot_write(path, errno, why, why_size);
    close(fd);
    unlink(temporary);
    return true;
}

/* A rename is on the disk when its folder is. */
static bool sync_folder(const char *path)
{
    char folder[TEMPORARY_SIZE];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0'; /* the root keeps its own */
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    /* this file system has no such thing, or the folder may be written and not read */
    return synced || error == EINVAL || error == EACCES;
}

static bool fill(FILE *file, unsigned mode, const char *bytes, size_t size_bytes)
{
    /* a file system without modes, as vfat, refuses them */
    bool has_mode = fchmod(fileno(file), mode) == 0 || errno == EPERM || errno == ENOTSUP;
    return has_mode && fwrite(bytes, 1, size_bytes, file) == size_bytes && fflush(file) == 0 &&
           (fsync(fileno(file)) == 0 || errno == EINVAL);
}

static bool write_special(const char *path, const char *bytes, size_t size_bytes, char *why,
                          size_t why_size)
{
    FILE *file = fopen(path, "we");
    bool written = file && fwrite(bytes, 1, size_bytes, file) == size_bytes && fflush(file) == 0;
    int error = errno;
    if (file && fclose(file) != 0 && written) {
        error = errno;
        written = false;
    }
    return written || cannot_write(path, error, why, why_size);
}

bool whole_file_write(const char *path, unsigned mode, const char *bytes, size_t size_bytes,
                      char *why, size_t why_size)
{
    char temporary[TEMPORARY_SIZE];
    if (is_special(path))
        return write_special(path, bytes, size_bytes, why, why_size);
    int fd = make_temporary(path, temporary);
    if (fd < 0)
        return cannot_write(path, errno, why, why_size);
    FILE *file = fdopen(fd, "w");
    bool written = file && fill(file, mode, bytes, size_bytes);
    int error = errno;
    if (file ? fclose(file) != 0 : close(fd) != 0) {
        error = written ? errno : error;
        written = false;
    }
    if (written && rename(temporary, path) == 0)
        return sync_folder(path) || cannot_write(path, errno, why, why_size);
    if (written)
        error = errno;
    unlink(temporary);
    return cannot_write(path, error, why, why_size);
}

char *whole_file_read(const char *path, size_t size_max, size_t *size_bytes)
{
    FILE *file = fopen(path, "re");
    struct stat status;
    char *bytes = NULL;
    if (!file)
        return NULL;
    if (fstat(fileno(file), &status) != 0)
        goto out;
    if (status.st_size < 0 || (size_t)status.st_size > size_max) {
        errno = EFBIG;
        goto out;
    }
    bytes = malloc((size_t)status.st_size + 1);
    if (!bytes)
        goto out;
    *size_bytes = fread(bytes, 1, (size_t)status.st_size, file);
    bytes[*size_bytes] = '\0';
out:
    fclose(file);
    return bytes;
}
