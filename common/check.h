/*
 * Checks that are always compiled in: a programmer's error ends the program where it happened.
 * Errors of operation (bad input, a lost connection) never come here; they are returned.
 */
#ifndef FLASHOVER_COMMON_CHECK_H
#define FLASHOVER_COMMON_CHECK_H

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For every pthread call that can only fail by misuse. pthread_create and the timed waits return
 * errors of operation and are handled where they are called. */
#define CHECK_PTHREAD(call) check_pthread_result((call), #call, __FILE__, __LINE__)

static inline void check_pthread_result(int result, const char *call, const char *file, int line)
{
    if (result == 0)
        return;
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, call, strerror(result));
    abort();
}

#endif
