/*
 * The process that prints dumps: forked before there are threads, it sleeps until the service asks
 * it, reads the stacks from the memory that both share, and turns addresses into names with libdw.
 * So a dying service needs neither memory nor a lock of its own to be printed.
 *
 * It ends when the service has ended, by the end of their socket, and ignores the signals that a
 * terminal sends to both.
 */
#ifndef FLASHOVER_SERVICE_DUMP_HELPER_H
#define FLASHOVER_SERVICE_DUMP_HELPER_H

#include "service/dump/report.h"

struct dump_helper_config {
    unsigned max_threads; /* slots */
    const char *dump_dir; /* NULL: dumps of a dying process go to stderr only */
    int argc;             /* the program's, to name the process in ps */
    char **argv;
};

/* Which of the two sets of slots: a dying process shares none with a thread that only asks. The
 * helper serves one at a time, so that the dying one may wait for the other's report. */
enum dump_kind { DUMP_ON_DEMAND, DUMP_FATAL, DUMP_KINDS };

/* Opens the slots and forks. Before threads start. False, with errno, when that cannot be done. */
bool dump_helper_start(const struct dump_helper_config *config) __attribute__((warn_unused_result));

/* The slots of that kind; NULL before the start. */
struct stack_slots *dump_helper_slots(enum dump_kind kind);

/* Has the fatal slots printed to stderr and to a new file in the dump directory. True once it is
 * done; false when the helper is gone or the deadline has passed. Async-signal-safe. */
bool dump_helper_print(int64_t deadline_ns);

/* Appends a report of the slots on demand. False when the helper is gone or busy. One caller at a
 * time. */
bool dump_helper_report(enum dump_format format, int64_t deadline_ns, struct text *out)
    __attribute__((warn_unused_result));

/* Whether the helper is there. Nothing forks a new one: the service has threads by now. False
 * before the start. Any thread. */
bool dump_helper_is_alive(void);

/* Ends the helper and waits for it. */
void dump_helper_stop(void);

#endif
