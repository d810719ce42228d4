/*
 * System calls that fail once, at the Nth call of the threads that count, beside the allocations of
 * failing_malloc.h: those by which a thread starts and a program talks to the network. Each fails
 * as it does when the peer or the kernel lets it down. Defined for the whole program, the libraries
 * included.
 */
#ifndef FLASHOVER_TESTS_SUPPORT_FAILING_CALLS_H
#define FLASHOVER_TESTS_SUPPORT_FAILING_CALLS_H

#include "tests/support/failing_malloc.h"

#if FAILING_MALLOC

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

/* The C library's own function of this name, into a pointer of the function's type. */
#define FIND_REAL(pointer, name)                                                                   \
    do {                                                                                           \
        if (!(pointer))                                                                            \
            *(void **)&(pointer) = dlsym(RTLD_NEXT, name);                                         \
    } while (0)

int socket(int domain, int type, int protocol)
{
    static int (*real)(int, int, int);
    FIND_REAL(real, "socket");
    return fails_now(FAILING_CALL, EMFILE) ? -1 : real(domain, type, protocol);
}

/* The address has the C library's own type, a union of the pointers to all kinds. */
int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t size)
{
    static int (*real)(int, __CONST_SOCKADDR_ARG, socklen_t);
    FIND_REAL(real, "connect");
    return fails_now(FAILING_CALL, ECONNREFUSED) ? -1 : real(fd, address, size);
}

/* The connection is gone, also for what comes later. */
static ssize_t reset(int fd)
{
    (void)shutdown(fd, SHUT_RDWR);
    errno = ECONNRESET;
    return -1;
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    static ssize_t (*real)(int, const void *, size_t, int);
    FIND_REAL(real, "send");
    return fails_now(FAILING_CALL, ECONNRESET) ? reset(fd) : real(fd, bytes, size, flags);
}

/* recv() and poll() are inline functions in the C library's headers, hence other names in C. */
ssize_t failing_recv(int fd, void *bytes, size_t size, int flags) __asm__("recv");
int failing_poll(struct pollfd *fds, nfds_t count, int timeout_ms) __asm__("poll");

ssize_t failing_recv(int fd, void *bytes, size_t size, int flags)
{
    static ssize_t (*real)(int, void *, size_t, int);
    FIND_REAL(real, "recv");
    return fails_now(FAILING_CALL, ECONNRESET) ? reset(fd) : real(fd, bytes, size, flags);
}

int failing_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    static int (*real)(struct pollfd *, nfds_t, int);
    FIND_REAL(real, "poll");
    return fails_now(FAILING_CALL, ENOMEM) ? -1 : real(fds, count, timeout_ms);
}

/* A thread's start, for the exempt ones. */
struct start {
    void *(*main)(void *argument);
    void *argument;
};

static void *exempt_main(void *argument)
{
    struct start start = *(struct start *)argument;
    never_fails = true;
    free(argument);
    return start.main(start.argument);
}

/* Threads of exempt threads are exempt: a server in this process is the test's. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *),
                   void *argument)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    FIND_REAL(real, "pthread_create");
    if (fails_now(FAILING_CALL, EAGAIN))
        return EAGAIN;
    if (!never_fails)
        return real(thread, attributes, main, argument);
    struct start *start = malloc(sizeof *start);
    *start = (struct start){main, argument};
    return real(thread, attributes, exempt_main, start);
}

#endif
#endif
