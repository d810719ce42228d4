#include "tests/support/capture.h"

#include "common/check.h"

#include <sys/mman.h>
#include <unistd.h>

void capture_begin(struct capture *capture, int fd)
{
    fflush(NULL);
    capture->fd = fd;
    capture->former = dup(fd);
    capture->file = memfd_create("captured", MFD_CLOEXEC);
    assert(capture->former >= 0 && capture->file >= 0);
    assert(dup2(capture->file, fd) == fd);
}

void capture_end(struct capture *capture)
{
    fflush(NULL);
    assert(dup2(capture->former, capture->fd) == capture->fd);
    ssize_t size = pread(capture->file, capture->text, sizeof capture->text - 1, 0);
    assert(size >= 0);
    capture->text[size] = '\0';
    close(capture->former);
    close(capture->file);
}
