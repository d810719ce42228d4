#include "service/thread_state.h"

#include "common/check.h"
#include "common/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* One a thread, in thread-local storage. Lock key: (l) under `list_lock`, (a) atomic, (i) immutable
 * while listed. */
struct entry {
    bool listed;                       /* only the owning thread looks */
    long tid;                          /* (i) */
    const char *role;                  /* (i) */
    char request[THREAD_REQUEST_SIZE]; /* (i) */
    _Atomic enum thread_state state;   /* (a) written by the owner */
    _Atomic int64_t since_ns;          /* (a) written by the owner */
    struct entry *previous, *next;     /* (l) */
};

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *list_head; /* (l) */
static _Thread_local struct entry self;
static _Thread_local enum thread_state before_log_lock;

const char *thread_state_name(enum thread_state state)
{
    static const char *const names[THREAD_STATES] = {
        "idle", "running", "pool checkout", "query", "map lock", "log lock", "WaitGroup wait"};
    assert(state < THREAD_STATES);
    return names[state];
}

void thread_state_enter(const char *role, const char *request)
{
    assert(!self.listed);
    self.tid = thread_state_tid();
    self.role = role;
    snprintf(self.request, sizeof self.request, "%s", request);
    atomic_store(&self.state, THREAD_RUNNING);
    atomic_store(&self.since_ns, clock_now_ns());
    atomic_signal_fence(memory_order_seq_cst); /* see thread_state_look() */
    self.listed = true;
    CHECK_PTHREAD(pthread_mutex_lock(&list_lock));
    self.previous = NULL;
    self.next = list_head;
    if (list_head)
        list_head->previous = &self;
    list_head = &self;
    CHECK_PTHREAD(pthread_mutex_unlock(&list_lock));
}

void thread_state_leave(void)
{
    assert(self.listed);
    CHECK_PTHREAD(pthread_mutex_lock(&list_lock));
    if (self.previous)
        self.previous->next = self.next;
    else
        list_head = self.next;
    if (self.next)
        self.next->previous = self.previous;
    CHECK_PTHREAD(pthread_mutex_unlock(&list_lock));
    self.listed = false;
    atomic_signal_fence(memory_order_seq_cst);
    self.request[0] = '\0';
}

enum thread_state thread_state_set(enum thread_state state)
{
    enum thread_state former = atomic_load_explicit(&self.state, memory_order_relaxed);
    atomic_store_explicit(&self.state, state, memory_order_relaxed);
    atomic_store_explicit(&self.since_ns, clock_now_ns(), memory_order_relaxed);
    return former;
}

const char *thread_state_request(void)
{
    return self.request;
}

long thread_state_tid(void)
{
    if (self.tid == 0) /* a system call: once a thread */
        self.tid = (long)gettid();
    return self.tid;
}

void thread_state_look(struct thread_view *view)
{
    /* `listed` is written by this very thread: only the compiler could get the order wrong. */
    bool listed = self.listed;
    atomic_signal_fence(memory_order_seq_cst);
    *view = (struct thread_view){.tid = thread_state_tid()};
    if (!listed)
        return;
    view->role = self.role;
    memcpy(view->request, self.request, sizeof view->request);
    view->state = atomic_load(&self.state);
    view->since_ns = atomic_load(&self.since_ns);
}

unsigned thread_state_list(struct thread_view **views)
{
    unsigned count = 0;
    CHECK_PTHREAD(pthread_mutex_lock(&list_lock));
    for (const struct entry *entry = list_head; entry; entry = entry->next)
        count++;
    *views = calloc(count ? count : 1, sizeof **views);
    unsigned filled = 0;
    for (struct entry *entry = list_head; entry && *views; entry = entry->next) {
        struct thread_view *view = &(*views)[filled++];
        view->tid = entry->tid;
        view->role = entry->role;
        memcpy(view->request, entry->request, sizeof view->request);
        view->state = atomic_load(&entry->state);
        view->since_ns = atomic_load(&entry->since_ns);
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&list_lock));
    return filled;
}

bool thread_state_works_for(long tid, const char *request, enum thread_state *state)
{
    CHECK_PTHREAD(pthread_mutex_lock(&list_lock));
    const struct entry *entry = list_head;
    while (entry && entry->tid != tid)
        entry = entry->next;
    bool works = entry && strcmp(entry->request, request) == 0;
    *state = works ? atomic_load(&entry->state) : THREAD_IDLE;
    CHECK_PTHREAD(pthread_mutex_unlock(&list_lock));
    return works;
}

void thread_state_count(unsigned counts[THREAD_STATES])
{
    memset(counts, 0, THREAD_STATES * sizeof *counts);
    CHECK_PTHREAD(pthread_mutex_lock(&list_lock));
    for (struct entry *entry = list_head; entry; entry = entry->next)
        counts[atomic_load(&entry->state)]++;
    CHECK_PTHREAD(pthread_mutex_unlock(&list_lock));
}

void thread_state_log_wait_begin(void)
{
    before_log_lock = thread_state_set(THREAD_LOG_LOCK);
}

void thread_state_log_wait_end(void)
{
    thread_state_set(before_log_lock);
}
