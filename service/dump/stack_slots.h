/*
 * The stacks of all threads, each written by its thread itself, from a signal handler, into a slot
 * that is there beforehand. Nothing here allocates, takes a lock of ours or calls anything that is
 * not async-signal-safe, so it also works with a damaged heap, in a signal handler, and while
 * others hold the locks. The slots lie in memory that is shared with a process forked later.
 */
#ifndef FLASHOVER_SERVICE_DUMP_STACK_SLOTS_H
#define FLASHOVER_SERVICE_DUMP_STACK_SLOTS_H

#include "service/base/thread_state.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STACK_FRAMES      48
#define STACK_REASON_SIZE 256

enum stack_status {
    STACK_UNUSED,
    STACK_ASKED, /* at the end: the thread did not answer in time */
    STACK_WRITING,
    STACK_ANSWERED,
    STACK_GONE /* the thread ended meanwhile */
};

/* Lock key: (a) atomic; (s) written by the thread that made `status` WRITING, read once it is
 * ANSWERED. */
struct stack_slot {
    _Atomic enum stack_status status;  /* (a) */
    struct thread_view thread;         /* (s) role NULL: not registered */
    unsigned depth;                    /* (s) */
    uintptr_t addresses[STACK_FRAMES]; /* (s) where the thread is, then its return addresses */
};

/* Lock key: (i) immutable once opened, (a) atomic, (c) the collecting thread's, and the reader's
 * afterwards. */
struct stack_slots {
    unsigned capacity;              /* (i) */
    pid_t pid;                      /* (i) whose threads these are */
    int task_fd;                    /* (i) the list of them; -1: there is none */
    bool freezes;                   /* (i) threads stay in the handler for good, once they wrote */
    int64_t at_ns;                  /* (c) monotonic: when the collection began */
    int64_t took_ns;                /* (c) */
    unsigned missed;                /* (c) threads for which there was no slot */
    pid_t own_tid;                  /* (c) the collecting thread */
    long other_tid;                 /* (c) a thread that stands out beside it; 0: none */
    const char *own_mark;           /* (c) a note on the collecting thread; NULL: nothing */
    const char *other_mark;         /* (c) and of the other: string constants */
    char reason[STACK_REASON_SIZE]; /* (c) why the process dies; "" when it does not */
    _Atomic bool is_collecting;     /* (a) */
    _Atomic unsigned count;         /* (a) slots in use; the first is the collecting thread's */
    _Atomic unsigned answered;      /* (a) */
    pid_t *tids; /* (a by count) close together, since each thread looks for its own */
    struct stack_slot *slots;
};

/* New slots in shared memory, which is only touched when it is used; never freed. NULL with errno.
 */
struct stack_slots *stack_slots_open(unsigned capacity, bool freezes)
    __attribute__((warn_unused_result));

/* Installs the handler, on SIGURG as in Go's runtime, which nobody else uses. Waits that it
 * interrupts must look at their deadlines again. Before threads start. */
void stack_slots_install(void);

/* Begins a collection: has thread `other_tid` (0: none) write its stack, before it gets any
 * further, and then writes the calling thread's own, which is taken from `own`, a ucontext_t, or
 * where that is NULL from here. One collection at a time, but for a freezing one, which may come in
 * between. Async-signal-safe. */
void stack_slots_begin(struct stack_slots *slots, const void *own, long other_tid);

/* Has every other thread of the process write its stack, and waits until all have, at most until
 * the deadline. Async-signal-safe. */
void stack_slots_collect(struct stack_slots *slots, int64_t deadline_ns);

/* True while the calling thread is following a stack, which may lead it into a hole. */
bool stack_slots_is_unwinding(void);

/* Gives up following it, with what was found so far. From the handler of the signal that the hole
 * led to. */
void stack_slots_stop_unwinding(void) __attribute__((noreturn));

#endif
