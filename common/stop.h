/*
 * Asks a run to stop: from a signal handler, or from another thread. The descriptor becomes
 * readable and stays so, so that every event loop can watch it.
 */
#ifndef FLASHOVER_COMMON_STOP_H
#define FLASHOVER_COMMON_STOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A reason beside the signals' numbers: a request to the REST side. */
#define STOP_BY_REST 1000

struct stop {
    int event_fd;      /* (i) readable once a stop was asked for; never read from */
    atomic_int reason; /* (a) 0, or the signal that asked, or STOP_BY_REST */
};

/* False with errno when there is no descriptor left. */
bool stop_init(struct stop *stop) __attribute__((warn_unused_result));
void stop_destroy(struct stop *stop);

/* Safe in a signal handler. `reason` is not 0; only the first one is kept. */
void stop_request(struct stop *stop, int reason);

bool stop_requested(const struct stop *stop);

/* Sleeps until the monotonic time at_ns, or until a stop is asked for: then returns true. */
bool stop_wait_until(const struct stop *stop, int64_t at_ns);

/* Has SIGINT, SIGTERM and, unless it is ignored as under nohup, SIGHUP ask `stop`, once each: the
 * second one of a kind ends the program. `stop` must outlive the process. */
void stop_on_signals(struct stop *stop);

/* Ignores SIGPIPE and SIGXFSZ: what they tell of is an error of the write, too. */
void stop_ignore_file_signals(void);

#endif
