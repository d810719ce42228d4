/*
 * fatal=abort: the process ends, as by throw() in Go's runtime, which no recover() catches.
 * FIX of exit_thread.c: the kernel closes every socket, so the database sees every connection
 * go.
 */
#include "service/dump/crash_dump.h"
#include "service/variants/fatal/fatal.h"

#include <stdlib.h>

static void concurrent_map_writes(void)
{
    crash_dump_print("fatal error: concurrent map writes\n"
                     "(Flashover's own detector, speaking as Go's runtime would: two threads were "
                     "writing one unlocked map.)");
    /* FIX: nothing is left that could hold anything. */
    abort();
}

const struct fatal_ops fatal_abort = {concurrent_map_writes};
