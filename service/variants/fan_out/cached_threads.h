/*
 * Threads that run one task each, and then wait a while for another. Starting and ending a thread
 * costs more than an item's query does, so those that are done are used again, the latest first.
 *
 * A taker gets all the threads that it asks for before the first of them runs: so many are there at
 * the same time as there are tasks, however short a task is.
 *
 * Process-wide, as the limit is. One lock guards the list of idle threads and the counts; nothing
 * is called while it is held.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_FAN_OUT_CACHED_THREADS_H
#define FLASHOVER_SERVICE_VARIANTS_FAN_OUT_CACHED_THREADS_H

#include "service/base/failure.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct cached_thread;
TAILQ_HEAD(cached_thread_list, cached_thread);

struct cached_threads_config {
    unsigned max_threads; /* of the process, at work or idle */
    size_t stack_bytes;
    int64_t idle_ns; /* a thread that waits for longer ends; 0: each ends after its task */
    /* pthread_create, or what a test puts in its place */
    int (*create)(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                  void *argument);
};

/* Takes `count` threads: idle ones, and new ones. False: none was taken. Where there are too many
 * (the limit, or pthread_create), *failure is LIMIT. Where the deadline passed while threads were
 * being created, *failure stays as it was. */
bool cached_threads_take(const struct cached_threads_config *config, unsigned count,
                         int64_t deadline_ns, struct cached_thread_list *taken,
                         struct failure *failure) __attribute__((warn_unused_result));

/* The first of the taken threads leaves the list and runs run(argument), which may end it with
 * pthread_exit. */
void cached_threads_run_one(struct cached_thread_list *taken, void (*run)(void *argument),
                            void *argument);

/* Taken threads that have nothing to run are idle again. Empties the list. */
void cached_threads_give_back(struct cached_thread_list *taken);

struct cached_threads_counts {
    unsigned at_work; /* taken, or running their task */
    unsigned idle;
};

struct cached_threads_counts cached_threads_count(void);

#endif
