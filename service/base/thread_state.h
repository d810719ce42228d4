/*
 * What every thread of the service is doing at this moment, for /debug/threads and /metrics. A
 * thread registers itself, records what it waits for, and leaves before it ends. Threads that are
 * not registered may call everything.
 */
#ifndef FLASHOVER_SERVICE_BASE_THREAD_STATE_H
#define FLASHOVER_SERVICE_BASE_THREAD_STATE_H

#include <stdbool.h>
#include <stdint.h>

enum thread_state {
    THREAD_IDLE, /* has nothing to do */
    THREAD_RUNNING,
    THREAD_POOL_CHECKOUT,
    THREAD_QUERY,
    THREAD_MAP_LOCK,
    THREAD_LOG_LOCK,
    THREAD_WAITGROUP_WAIT,
    THREAD_STATES
};

#define THREAD_REQUEST_SIZE 65

struct thread_view {
    long tid;                          /* the kernel's thread id */
    const char *role;                  /* a string constant: "request", "item", "connector", … */
    char request[THREAD_REQUEST_SIZE]; /* "" for a background thread */
    enum thread_state state;
    int64_t since_ns; /* monotonic: when the state began */
    uint64_t turn;    /* as thread_state_request() has it */
};

/* The state's name, as in Go's dumps: "pool checkout". */
const char *thread_state_name(enum thread_state state);

/* Registers the calling thread, in the state running. `role` must be a string constant; `request`
 * is copied. A thread that works for no request yet ("") also gets a stack for its signal handlers.
 */
void thread_state_enter(const char *role, const char *request);

/* The calling thread, registered with the request "", now works for `request`, in the state
 * running;
 * "": for none any more, in the state idle. Takes no lock that threads share. */
void thread_state_serve(const char *request);

/* The calling thread is gone from the list. Must come before it ends. */
void thread_state_leave(void);

/* Changes the calling thread's state and returns the former one, to be put back. */
enum thread_state thread_state_set(enum thread_state state);

/* The request that the calling thread works for, or "": THREAD_REQUEST_SIZE bytes of the thread.
 * *turn (NULL is allowed) is a number of it: another one for each thread and each time, also where
 * a caller uses a request's id again; 0: there was none yet. */
const char *thread_state_request(uint64_t *turn);

/* The calling thread's kernel id. */
long thread_state_tid(void);

/* The calling thread, also from a signal handler; role NULL, request "" and since_ns 0 when it is
 * not registered. */
void thread_state_read_own(struct thread_view *view);

/* Copies all threads into a new array, to be freed by the caller; the count is returned. On lack of
 * memory *views is NULL and 0 is returned. */
unsigned thread_state_list(struct thread_view **views);

/* Whether the thread with this kernel id is there and its turn is this one; *state is what it is
 * doing then. */
bool thread_state_is_at(long tid, uint64_t turn, enum thread_state *state);

/* Counts the threads by state. */
void thread_state_count(unsigned counts[THREAD_STATES]);

/* From now on a thread that waits for the log's lock is in "log lock". Before there are threads. */
void thread_state_watch_log(void);

#endif
