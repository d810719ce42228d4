#include "service/variants/fan_out/cached_threads.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/base/thread_state.h"

#include <errno.h>
#include <malloc.h>
#include <semaphore.h>
#include <stdatomic.h>

/* Its own thread frees it. Lock key: (i) immutable, (m) under `lock`, (a) atomic, (t) the taker's
 * until it posts `told`, then the thread's. */
struct cached_thread {
    int64_t idle_ns;                     /* (i) */
    sem_t told;                          /* posted once each time that it was taken */
    void (*_Atomic run)(void *argument); /* (a) stored last, before the post; NULL: nothing */
    void *argument;                      /* (t) */
    bool is_to_end;                      /* (t) instead of being idle again */
    bool is_idle;                        /* (m) */
    TAILQ_ENTRY(cached_thread) link;     /* (m) while idle, (t) while taken */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cached_thread_list idle = TAILQ_HEAD_INITIALIZER(idle); /* (m) the latest first */
static unsigned idle_count;                                           /* (m) */
static unsigned live_count;                                           /* (m) idle ones too */

static void tell(struct cached_thread *thread)
{
    int failed = sem_post(&thread->told);
    assert(!failed);
}

static void become_idle(struct cached_thread *self)
{
    CHECK_PTHREAD(pthread_mutex_lock(&lock));
    assert(!self->is_idle);
    self->is_idle = true;
    TAILQ_INSERT_HEAD(&idle, self, link);
    idle_count++;
    CHECK_PTHREAD(pthread_mutex_unlock(&lock));
}

/* Off the list of idle threads. Lock held. */
static void take_off(struct cached_thread *thread)
{
    assert(thread->is_idle && idle_count > 0);
    thread->is_idle = false;
    TAILQ_REMOVE(&idle, thread, link);
    idle_count--;
}

/* False: somebody has taken it before. */
static bool stop_being_idle(struct cached_thread *self)
{
    CHECK_PTHREAD(pthread_mutex_lock(&lock));
    bool was_idle = self->is_idle;
    if (was_idle)
        take_off(self);
    CHECK_PTHREAD(pthread_mutex_unlock(&lock));
    return was_idle;
}

/* False: nobody wanted it for so long that it is to end. */
static bool await_task(struct cached_thread *self)
{
    become_idle(self);
    if (clock_sem_wait(&self->told, clock_now_ns() + self->idle_ns))
        return true;
    if (stop_being_idle(self))
        return false;
    /* taken at the last moment: its taker is about to say what for */
    return clock_sem_wait(&self->told, CLOCK_NEVER);
}

/* Also where a task ends its thread. After a burst the last one gives back to the system what the
 * allocator kept for thousands of threads. */
static void thread_ends(void *argument)
{
    struct cached_thread *self = argument;
    bool has_waited = self->idle_ns > 0;
    thread_state_leave();
    int failed = sem_destroy(&self->told);
    assert(!failed);
    free(self);
    CHECK_PTHREAD(pthread_mutex_lock(&lock));
    assert(live_count > idle_count);
    live_count--;
    bool is_last = live_count == 0;
    CHECK_PTHREAD(pthread_mutex_unlock(&lock));
    if (is_last && has_waited)
        (void)malloc_trim(0);
}

/* Keeps no pointer to what the task was about. */
static void run_task(struct cached_thread *self)
{
    void (*run)(void *argument) = atomic_load(&self->run);
    void *argument = self->argument;
    self->argument = NULL;
    if (run)
        run(argument);
}

static void *thread_main(void *argument)
{
    struct cached_thread *self = argument;
    thread_state_enter("item", "");
    thread_state_serve("");
    pthread_cleanup_push(thread_ends, self);
    (void)clock_sem_wait(&self->told, CLOCK_NEVER); /* it was taken before it was there */
    do {
        run_task(self);
    } while (!self->is_to_end && await_task(self));
    pthread_cleanup_pop(1);
    return NULL;
}

/* The idle ones of the `count` threads, and in *missing how many are to be created: their places
 * under the limit are reserved. False: too many. */
static bool take_idle(const struct cached_threads_config *config, unsigned count,
                      struct cached_thread_list *taken, unsigned *missing)
{
    CHECK_PTHREAD(pthread_mutex_lock(&lock));
    *missing = count > idle_count ? count - idle_count : 0;
    bool fits = *missing == 0 || live_count + *missing <= config->max_threads;
    for (unsigned i = *missing; fits && i < count; i++) {
        struct cached_thread *thread = TAILQ_FIRST(&idle);
        take_off(thread);
        TAILQ_INSERT_TAIL(taken, thread, link);
    }
    if (fits)
        live_count += *missing;
    CHECK_PTHREAD(pthread_mutex_unlock(&lock));
    return fits;
}

static int create(const struct cached_threads_config *config, const pthread_attr_t *attributes,
                  struct cached_thread_list *taken)
{
    pthread_t id;
    struct cached_thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return ENOMEM;
    thread->idle_ns = config->idle_ns;
    thread->is_to_end = config->idle_ns == 0;
    int failed = sem_init(&thread->told, 0, 0);
    assert(!failed);
    int error = config->create(&id, attributes, thread_main, thread);
    if (error == 0) {
        TAILQ_INSERT_TAIL(taken, thread, link);
    } else {
        failed = sem_destroy(&thread->told);
        assert(!failed);
        free(thread);
    }
    return error;
}

/* Creates threads until as many are there, or one fails, or the deadline has passed. Returns how
 * many are still missing. */
static unsigned create_missing(const struct cached_threads_config *config, unsigned missing,
                               int64_t deadline_ns, struct cached_thread_list *taken,
                               struct failure *failure)
{
    pthread_attr_t attributes;
    int error = 0;
    CHECK_PTHREAD(pthread_attr_init(&attributes));
    CHECK_PTHREAD(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED));
    CHECK_PTHREAD(pthread_attr_setstacksize(&attributes, config->stack_bytes));
    while (missing > 0 && error == 0 && clock_now_ns() < deadline_ns) {
        error = create(config, &attributes, taken);
        missing -= error == 0;
    }
    CHECK_PTHREAD(pthread_attr_destroy(&attributes));
    if (error)
        failure_set(failure, FAILURE_LIMIT, "cannot start a thread: %s", strerror(error));
    return missing;
}

/* They run nothing. */
static void dismiss(struct cached_thread_list *taken, bool is_to_end)
{
    struct cached_thread *thread;
    while ((thread = TAILQ_FIRST(taken))) {
        TAILQ_REMOVE(taken, thread, link);
        thread->is_to_end = thread->is_to_end || is_to_end;
        atomic_store(&thread->run, NULL);
        tell(thread);
    }
}

bool cached_threads_take(const struct cached_threads_config *config, unsigned count,
                         int64_t deadline_ns, struct cached_thread_list *taken,
                         struct failure *failure)
{
    unsigned missing;
    assert(config->create && count > 0);
    TAILQ_INIT(taken);
    if (!take_idle(config, count, taken, &missing))
        return failure_set(failure, FAILURE_LIMIT, "too many threads: the limit is %u",
                           config->max_threads);
    if (missing > 0)
        missing = create_missing(config, missing, deadline_ns, taken, failure);
    if (missing == 0)
        return true;
    CHECK_PTHREAD(pthread_mutex_lock(&lock));
    live_count -= missing;
    CHECK_PTHREAD(pthread_mutex_unlock(&lock));
    /* Where no thread can be created, what the idle ones hold is needed elsewhere. */
    dismiss(taken, failure->kind == FAILURE_LIMIT);
    return false;
}

void cached_threads_run_one(struct cached_thread_list *taken, void (*run)(void *argument),
                            void *argument)
{
    struct cached_thread *thread = TAILQ_FIRST(taken);
    assert(thread && run);
    TAILQ_REMOVE(taken, thread, link);
    thread->argument = argument;
    atomic_store(&thread->run, run);
    tell(thread);
}

void cached_threads_give_back(struct cached_thread_list *taken)
{
    dismiss(taken, false);
}

struct cached_threads_counts cached_threads_count(void)
{
    CHECK_PTHREAD(pthread_mutex_lock(&lock));
    struct cached_threads_counts counts = {.at_work = live_count - idle_count, .idle = idle_count};
    CHECK_PTHREAD(pthread_mutex_unlock(&lock));
    return counts;
}
