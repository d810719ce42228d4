/*
 * The end of the process with a dump of all threads, as in Go: on a fault, on abort(), on SIGQUIT,
 * and where a variant finds that it must not go on. All other threads stand still from the dump to
 * the end.
 */
#ifndef FLASHOVER_SERVICE_DUMP_CRASH_DUMP_H
#define FLASHOVER_SERVICE_DUMP_CRASH_DUMP_H

#include <stdbool.h>

/* Installs the handlers, once dump_helper_start() has succeeded and before threads start. SIGSEGV,
 * SIGBUS, SIGFPE, SIGILL and SIGABRT: prints, then dies by that signal, with its core. SIGQUIT:
 * prints, then exits with status 2. A stack overflow is printed where the thread has a stack for
 * its handlers (signal_stack_use()). Under a sanitizer, SIGQUIT alone: faults are its own to
 * report. */
void crash_dump_install(void);

/* For the dump that the calling thread may be about to cause: it found thread `tid` (0: unknown)
 * writing. */
void crash_dump_name_writer(long tid);

/* Does not return while the process ends, so that a dump finds the calling thread in its write. */
void crash_dump_hold(void);

/* Writes `reason` (lines) to stderr, then has every thread printed; at most about 4 s. The caller
 * ends the process. When another thread is ending it already, or this one a second time, nothing is
 * printed, and in the first case it never returns. Without handlers only the reason is written.
 * Async-signal-safe: it also works while a thread holds malloc's lock, or the log's. */
void crash_dump_print(const char *reason);

#endif
