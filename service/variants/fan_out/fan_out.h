/*
 * A fan-out: the threads of one request, one for each task, and a WaitGroup to wait for them.
 *
 * Its state is reference-counted: one reference for the caller, one for each thread. The last to go
 * frees it together with what the threads share, so a thread that comes late, or never, touches
 * nothing that is gone.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_FAN_OUT_FAN_OUT_H
#define FLASHOVER_SERVICE_VARIANTS_FAN_OUT_FAN_OUT_H

#include "service/variants/fan_out/cached_threads.h"

struct fan_out;

/* Runs in a thread of its own, which it may end with pthread_exit: then it is never done, and the
 * fan-out's state stays for good. */
typedef void fan_out_task(void *shared, unsigned index);

struct fan_out_job {
    unsigned max_tasks;                /* 1.. */
    void *shared;                      /* handed to every task */
    void (*free_shared)(void *shared); /* called with the last reference */
    const char *request_id;            /* copied */
    int64_t deadline_ns;               /* no task is started after it */
};

/* A fan-out without threads; `threads` and `job` are copied. The caller ends it with
 * fan_out_release. NULL without memory: then `shared` is freed at once. */
struct fan_out *fan_out_open(const struct cached_threads_config *threads,
                             const struct fan_out_job *job, struct failure *failure)
    __attribute__((warn_unused_result));

/* Takes `count` threads, at most max_tasks; then fan_out_start() is called for as many. For the
 * caller's thread, once. False: none was taken. Where there are too many, *failure is LIMIT, and
 * nobody waits for tasks. Where the deadline has passed, *failure stays as it was, and no task is
 * ever done. */
bool fan_out_take(struct fan_out *fan_out, unsigned count, struct failure *failure)
    __attribute__((warn_unused_result));

/* The next of the taken threads runs task(shared, index); each index, below max_tasks, at most
 * once. For the caller's thread. False: the deadline has passed, and this task and all later ones
 * are never done. */
bool fan_out_start(struct fan_out *fan_out, fan_out_task *task, unsigned index)
    __attribute__((warn_unused_result));

/* WaitGroup.Wait, with a deadline: true when every task is done. */
bool fan_out_wait(struct fan_out *fan_out, int64_t deadline_ns);

/* Shortens present and future waits: none lasts longer than until then. For the caller, and for a
 * task while it runs. Takes the fan-out's lock. */
void fan_out_hurry(struct fan_out *fan_out, int64_t deadline_ns);

/* Drops the caller's reference and clears the pointer. */
void fan_out_release(struct fan_out **fan_out);

#endif
