/*
 * A fan-out: one thread for each of `count` tasks, and a WaitGroup to wait for them.
 *
 * Its state is reference-counted: one reference for the caller, one for each thread. The last to go
 * frees it together with what the threads share, so a thread that comes late, or never, touches
 * nothing that is gone.
 */
#ifndef FLASHOVER_FAN_OUT_H
#define FLASHOVER_FAN_OUT_H

#include "service/failure.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct fan_out;

struct fan_out_limits {
    unsigned max_threads; /* of all fan-outs of the process together */
    size_t stack_bytes;
    /* pthread_create, or what a test puts in its place */
    int (*create)(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                  void *argument);
};

/* Runs in a thread of its own, which it may end with pthread_exit: then it is never done, and the
 * fan-out's state stays for good. `index` counts from 0, in the order in which threads get going.
 */
typedef void fan_out_task(void *shared, unsigned index);

struct fan_out_job {
    unsigned count; /* of tasks */
    fan_out_task *task;
    void *shared;                      /* handed to every task */
    void (*free_shared)(void *shared); /* called with the last reference */
    const char *request_id;            /* copied */
    int64_t deadline_ns;               /* no thread is started after it */
};

/* Starts the threads; `job` is copied. The result must be given back with fan_out_release. When a
 * thread cannot be started (the limit, or pthread_create), *failure says so (LIMIT; else its kind
 * stays as it was) and the tasks not started count as done. When the deadline passes before all are
 * started, the others never are, and are never done. In both cases those started go on. NULL
 * without memory: then `shared` is freed at once. */
struct fan_out *fan_out_start(const struct fan_out_limits *limits, const struct fan_out_job *job,
                              struct failure *failure) __attribute__((warn_unused_result));

/* WaitGroup.Wait, with a deadline: true when every task is done. */
bool fan_out_wait(struct fan_out *fan_out, int64_t deadline_ns);

/* Whoever waits, or comes to wait, waits no longer than until then. For the caller, and for a task
 * while it runs. Takes the fan-out's lock. */
void fan_out_hurry(struct fan_out *fan_out, int64_t deadline_ns);

/* Drops the caller's reference and clears the pointer. */
void fan_out_release(struct fan_out **fan_out);

/* Fan-out threads alive in the process. */
unsigned fan_out_threads(void);

#endif
