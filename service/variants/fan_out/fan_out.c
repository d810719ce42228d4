#include "service/variants/fan_out/fan_out.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/base/thread_state.h"

#include <stdatomic.h>

/* What a thread is told to do. Written before it is told, and never again. */
struct task {
    struct fan_out *fan_out;
    fan_out_task *run;
    unsigned index;
};

/* Lock key: (i) immutable, (t) the caller's thread's, (a) atomic, (m) under `lock`. */
struct fan_out {
    struct cached_threads_config threads; /* (i) */
    void *shared;                         /* (i) the pointer; what it points to has its own rules */
    void (*free_shared)(void *);          /* (i) */
    int64_t deadline_ns;                  /* (i) */
    char request[THREAD_REQUEST_SIZE];    /* (i) */
    _Atomic unsigned references;          /* (a) the caller and each thread */
    _Atomic unsigned pending;             /* (a) the WaitGroup's counter */
    pthread_mutex_t lock;
    pthread_cond_t all_done; /* (m) pending fell to 0, or wait_until_ns was brought forward */
    int64_t wait_until_ns;   /* (m) how long waiting for it is worth while */
    struct cached_thread_list taken; /* (t) and not started yet */
    unsigned max_tasks;              /* (i) */
    struct task tasks[];             /* (t) until its thread runs, then (i) */
};

static void drop(struct fan_out *fan_out)
{
    if (atomic_fetch_sub(&fan_out->references, 1) > 1)
        return;
    fan_out->free_shared(fan_out->shared);
    CHECK_PTHREAD(pthread_cond_destroy(&fan_out->all_done));
    CHECK_PTHREAD(pthread_mutex_destroy(&fan_out->lock));
    free(fan_out);
}

/* WaitGroup.Done. Only the last one has anybody to wake: under the lock, since the caller may just
 * have looked at the counter. */
static void done(struct fan_out *fan_out)
{
    unsigned before = atomic_fetch_sub(&fan_out->pending, 1);
    assert(before > 0);
    if (before > 1)
        return;
    CHECK_PTHREAD(pthread_mutex_lock(&fan_out->lock));
    CHECK_PTHREAD(pthread_cond_signal(&fan_out->all_done));
    CHECK_PTHREAD(pthread_mutex_unlock(&fan_out->lock));
}

/* A task that ends its thread never gets to Done(), and its reference is never dropped: the state
 * is then never freed. */
static void serve(void *argument)
{
    const struct task *task = argument;
    struct fan_out *fan_out = task->fan_out;
    thread_state_serve(fan_out->request);
    task->run(fan_out->shared, task->index);
    done(fan_out);
    drop(fan_out);
    thread_state_serve("");
}

struct fan_out *fan_out_open(const struct cached_threads_config *threads,
                             const struct fan_out_job *job, struct failure *failure)
{
    assert(job->max_tasks > 0);
    struct fan_out *fan_out =
        calloc(1, sizeof *fan_out + job->max_tasks * sizeof fan_out->tasks[0]);
    if (!fan_out) {
        job->free_shared(job->shared);
        failure_set(failure, FAILURE_LIMIT, "out of memory");
        return NULL;
    }
    fan_out->threads = *threads;
    fan_out->shared = job->shared;
    fan_out->free_shared = job->free_shared;
    fan_out->deadline_ns = job->deadline_ns;
    fan_out->max_tasks = job->max_tasks;
    fan_out->wait_until_ns = CLOCK_NEVER;
    snprintf(fan_out->request, sizeof fan_out->request, "%s", job->request_id);
    TAILQ_INIT(&fan_out->taken);
    atomic_init(&fan_out->references, 1);
    CHECK_PTHREAD(pthread_mutex_init(&fan_out->lock, NULL));
    clock_cond_init(&fan_out->all_done);
    return fan_out;
}

bool fan_out_take(struct fan_out *fan_out, unsigned count, struct failure *failure)
{
    assert(count > 0 && count <= fan_out->max_tasks);
    assert(atomic_load(&fan_out->pending) == 0 && TAILQ_EMPTY(&fan_out->taken));
    /* Whatever is not started stays pending for good, so that a wait ends at its deadline. */
    atomic_store(&fan_out->pending, count);
    if (cached_threads_take(&fan_out->threads, count, fan_out->deadline_ns, &fan_out->taken,
                            failure))
        return true;
    if (failure->kind != FAILURE_NONE)
        atomic_store(&fan_out->pending, 0);
    return false;
}

/* The thread's reference is taken before it can run. */
bool fan_out_start(struct fan_out *fan_out, fan_out_task *task, unsigned index)
{
    struct task *own = &fan_out->tasks[index];
    assert(index < fan_out->max_tasks && !own->run); /* each index once */
    if (clock_now_ns() >= fan_out->deadline_ns) {
        cached_threads_give_back(&fan_out->taken);
        return false;
    }
    *own = (struct task){.fan_out = fan_out, .run = task, .index = index};
    atomic_fetch_add(&fan_out->references, 1);
    cached_threads_run_one(&fan_out->taken, serve, own);
    return true;
}

bool fan_out_wait(struct fan_out *fan_out, int64_t deadline_ns)
{
    enum thread_state former = thread_state_set(THREAD_WAITGROUP_WAIT);
    int result = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&fan_out->lock));
    while (atomic_load(&fan_out->pending) > 0 && result == 0) {
        int64_t until_ns =
            fan_out->wait_until_ns < deadline_ns ? fan_out->wait_until_ns : deadline_ns;
        struct timespec until = clock_timespec(until_ns);
        result = pthread_cond_timedwait(&fan_out->all_done, &fan_out->lock, &until);
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&fan_out->lock));
    thread_state_set(former);
    return atomic_load(&fan_out->pending) == 0;
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
    assert(TAILQ_EMPTY(&(*fan_out)->taken));
    drop(*fan_out);
    *fan_out = NULL;
}
