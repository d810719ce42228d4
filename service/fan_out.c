#include "service/fan_out.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/thread_state.h"

#include <stdatomic.h>

/* Lock key: (i) immutable once the threads run, (a) atomic, (m) under `lock`. */
struct fan_out {
    fan_out_task *task;                /* (i) */
    void *shared;                      /* (i) the pointer; what it points to has its own rules */
    void (*free_shared)(void *);       /* (i) */
    char request[THREAD_REQUEST_SIZE]; /* (i) */
    _Atomic unsigned references;       /* (a) the caller and each thread */
    _Atomic unsigned next_index;       /* (a) which task the next thread takes */
    pthread_mutex_t lock;
    pthread_cond_t all_done; /* (m) pending fell to 0, or wait_until_ns was brought forward */
    unsigned pending;        /* (m) the WaitGroup's counter */
    int64_t wait_until_ns;   /* (m) how long waiting for it is worth while */
};

static _Atomic unsigned live_threads;

static void drop(struct fan_out *fan_out)
{
    if (atomic_fetch_sub(&fan_out->references, 1) > 1)
        return;
    fan_out->free_shared(fan_out->shared);
    CHECK_PTHREAD(pthread_cond_destroy(&fan_out->all_done));
    CHECK_PTHREAD(pthread_mutex_destroy(&fan_out->lock));
    free(fan_out);
}

/* WaitGroup.Done, `count` times. */
static void done(struct fan_out *fan_out, unsigned count)
{
    CHECK_PTHREAD(pthread_mutex_lock(&fan_out->lock));
    assert(fan_out->pending >= count);
    fan_out->pending -= count;
    if (fan_out->pending == 0)
        CHECK_PTHREAD(pthread_cond_signal(&fan_out->all_done));
    CHECK_PTHREAD(pthread_mutex_unlock(&fan_out->lock));
}

/* What is the thread's own goes with it, also where a task ends its thread. */
static void thread_ends(void *unused)
{
    (void)unused;
    thread_state_leave();
    atomic_fetch_sub(&live_threads, 1);
}

/* A task that ends its thread never gets to Done(), and its reference is never dropped: the state
 * is then never freed. */
static void *thread_main(void *argument)
{
    struct fan_out *fan_out = argument;
    thread_state_enter("item", fan_out->request);
    pthread_cleanup_push(thread_ends, NULL);
    fan_out->task(fan_out->shared, atomic_fetch_add(&fan_out->next_index, 1));
    done(fan_out, 1);
    drop(fan_out);
    pthread_cleanup_pop(1);
    return NULL;
}

/* Takes a place under the limit. */
static bool reserve_thread(unsigned max_threads)
{
    unsigned live = atomic_load(&live_threads);
    do {
        if (live >= max_threads)
            return false;
    } while (!atomic_compare_exchange_weak(&live_threads, &live, live + 1));
    return true;
}

/* Starts one thread; its reference is taken before it can run. */
static bool start_thread(struct fan_out *fan_out, const struct fan_out_limits *limits,
                         const pthread_attr_t *attributes, struct failure *failure)
{
    pthread_t thread;
    if (!reserve_thread(limits->max_threads))
        return failure_set(failure, FAILURE_LIMIT, "too many threads: the limit is %u",
                           limits->max_threads);
    atomic_fetch_add(&fan_out->references, 1);
    int error = limits->create(&thread, attributes, thread_main, fan_out);
    if (error == 0)
        return true;
    atomic_fetch_sub(&fan_out->references, 1);
    atomic_fetch_sub(&live_threads, 1);
    return failure_set(failure, FAILURE_LIMIT, "cannot start a thread: %s", strerror(error));
}

struct fan_out *fan_out_start(const struct fan_out_limits *limits, const struct fan_out_job *job,
                              struct failure *failure)
{
    pthread_attr_t attributes;
    struct fan_out *fan_out = calloc(1, sizeof *fan_out);
    if (!fan_out) {
        job->free_shared(job->shared);
        failure_set(failure, FAILURE_LIMIT, "out of memory");
        return NULL;
    }
    fan_out->task = job->task;
    fan_out->shared = job->shared;
    fan_out->free_shared = job->free_shared;
    fan_out->pending = job->count;
    fan_out->wait_until_ns = CLOCK_NEVER;
    snprintf(fan_out->request, sizeof fan_out->request, "%s", job->request_id);
    atomic_init(&fan_out->references, 1);
    atomic_init(&fan_out->next_index, 0);
    CHECK_PTHREAD(pthread_mutex_init(&fan_out->lock, NULL));
    clock_cond_init(&fan_out->all_done);

    CHECK_PTHREAD(pthread_attr_init(&attributes));
    CHECK_PTHREAD(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED));
    CHECK_PTHREAD(pthread_attr_setstacksize(&attributes, limits->stack_bytes));
    unsigned started = 0;
    bool ok = true;
    while (ok && started < job->count && clock_now_ns() < job->deadline_ns) {
        ok = start_thread(fan_out, limits, &attributes, failure);
        started += ok;
    }
    CHECK_PTHREAD(pthread_attr_destroy(&attributes));
    if (!ok)
        done(fan_out, job->count - started);
    return fan_out;
}

bool fan_out_wait(struct fan_out *fan_out, int64_t deadline_ns)
{
    enum thread_state former = thread_state_set(THREAD_WAITGROUP_WAIT);
    int result = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&fan_out->lock));
    while (fan_out->pending > 0 && result == 0) {
        int64_t until_ns =
            fan_out->wait_until_ns < deadline_ns ? fan_out->wait_until_ns : deadline_ns;
        struct timespec until = clock_timespec(until_ns);
        result = pthread_cond_timedwait(&fan_out->all_done, &fan_out->lock, &until);
    }
    bool all_done = fan_out->pending == 0;
    CHECK_PTHREAD(pthread_mutex_unlock(&fan_out->lock));
    thread_state_set(former);
    return all_done;
}

void fan_out_hurry(struct fan_out *fan_out, int64_t deadline_ns)
{
    CHECK_PTHREAD(pthread_mutex_lock(&fan_out->lock));
    if (deadline_ns < fan_out->wait_until_ns)
        fan_out->wait_until_ns = deadline_ns;
    CHECK_PTHREAD(pthread_cond_signal(&fan_out->all_done));
    CHECK_PTHREAD(pthread_mutex_unlock(&fan_out->lock));
}

void fan_out_release(struct fan_out **fan_out)
{
    drop(*fan_out);
    *fan_out = NULL;
}

unsigned fan_out_threads(void)
{
    return atomic_load(&live_threads);
}
