/*
 * fatal=abort: the process ends, as by throw() in Go's runtime, which no recover() catches.
 * FIX of fatal_exit_thread.c: the kernel closes every socket, so the database sees every connection
 * go.
 */
#include "service/variants/fatal.h"

#include <stdlib.h>
#include <unistd.h>

static void concurrent_map_writes(void)
{
    /* Bare write(2): whoever holds the log's lock, or malloc's, must not keep the message back. */
    static const char message[] =
        "fatal error: concurrent map writes\n"
        "(Flashover's own detector, speaking as Go's runtime would: two threads were "
        "writing one unlocked map.)\n";
    ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    (void)written;
    /* FIX: nothing is left that could hold anything. */
    abort();
}

const struct fatal_ops fatal_abort = {"abort", concurrent_map_writes};
