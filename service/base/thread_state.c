#include "service/base/thread_state.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "service/base/signal_stack.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <unistd.h>

/* One a thread, in thread-local storage. Lock key: (l) under `list_lock`, (a) atomic, (i) immutable
 * while listed, (r) others read it, and the owner writes it, under `request_lock`; who has both
 * locks has taken `list_lock` first. */
struct entry {
    bool listed;      /* only the owning thread looks */
    long tid;         /* (i) */
    const char *role; /* (i) */
    pthread_mutex_t request_lock;
    char request[THREAD_REQUEST_SIZE]; /* (r) */
    _Atomic uint64_t turn;             /* (a) written by the owner */
    _Atomic enum thread_state state;   /* (a) written by the owner */
    _Atomic int64_t since_ns;          /* (a) written by the owner */
    LIST_ENTRY(entry) link;            /* (l) */
};

/* The list is in parts, so that a thread is found by its id among thousands. The kernel counts ids
 * up: they fill the parts evenly. */
enum { PARTS = 4096 };

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(entries, entry) entries[PARTS]; /* (l) all zero: empty */
static unsigned listed_count;                    /* (l) */
static _Thread_local struct entry self = {.request_lock = PTHREAD_MUTEX_INITIALIZER};
static _Thread_local enum thread_state before_log_lock;
static _Atomic uint64_t last_turn;

const char *thread_state_name(enum thread_state state)
{
    static const char *const names[THREAD_STATES] = {
        "idle", "running", "pool checkout", "query", "map lock", "log lock", "WaitGroup wait"};
    assert(state < THREAD_STATES);
    return names[state];
}

static struct entries *part_of(long tid)
{
    return &entries[(unsigned long)tid % PARTS];
}

static void begin_turn(void)
{
    atomic_store(&self.turn, 1 + atomic_fetch_add(&last_turn, 1));
}

void thread_state_enter(const char *role, const char *request)
{
    assert(!self.listed);
    assert(role && strlen(request) < THREAD_REQUEST_SIZE);
    if (!request[0])
        signal_stack_use();
    self.tid = thread_state_tid();
    self.role = role;
    snprintf(self.request, sizeof self.request, "%s", request);
    begin_turn();
    atomic_store(&self.state, THREAD_RUNNING);
    atomic_store(&self.since_ns, clock_now_ns());
    atomic_signal_fence(memory_order_seq_cst); /* see thread_state_read_own() */
    self.listed = true;
    CHECK_PTHREAD(pthread_mutex_lock(&list_lock));
    LIST_INSERT_HEAD(part_of(self.tid), &self, link);
    listed_count++;
    CHECK_PTHREAD(pthread_mutex_unlock(&list_lock));
}

void thread_state_serve(const char *request)
{
    size_t size = strlen(request) + 1;
    assert(self.listed && size <= THREAD_REQUEST_SIZE);
    begin_turn();
    CHECK_PTHREAD(pthread_mutex_lock(&self.request_lock));
    /* A signal handler of this thread sees the old one, "" or the new one. */
    self.request[0] = '\0';
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(self.request + 1, request + 1, size > 1 ? size - 1 : 0);
    atomic_signal_fence(memory_order_seq_cst);
    self.request[0] = request[0];
    CHECK_PTHREAD(pthread_mutex_unlock(&self.request_lock));
    thread_state_set(request[0] ? THREAD_RUNNING : THREAD_IDLE);
}

void thread_state_leave(void)
{
    assert(self.listed);
    CHECK_PTHREAD(pthread_mutex_lock(&list_lock));
    LIST_REMOVE(&self, link);
    listed_count--;
    CHECK_PTHREAD(pthread_mutex_unlock(&list_lock));
    self.listed = false;
    atomic_signal_fence(memory_order_seq_cst);
    self.request[0] = '\0';
}

enum thread_state thread_state_set(enum thread_state state)
{
    assert(state < THREAD_STATES);
    enum thread_state former = atomic_load_explicit(&self.state, memory_order_relaxed);
    atomic_store_explicit(&self.state, state, memory_order_relaxed);
    atomic_store_explicit(&self.since_ns, clock_now_ns(), memory_order_relaxed);
    return former;
}

const char *thread_state_request(uint64_t *turn)
{
    if (turn)
        *turn = atomic_load(&self.turn);
    return self.request;
}

long thread_state_tid(void)
{
    if (self.tid == 0) /* a system call: once a thread */
        self.tid = (long)gettid();
    return self.tid;
}

void thread_state_read_own(struct thread_view *view)
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

/* The request that the entry's thread works for. The list's lock held. */
static void copy_request(struct entry *entry, char request[THREAD_REQUEST_SIZE])
{
    CHECK_PTHREAD(pthread_mutex_lock(&entry->request_lock));
    memcpy(request, entry->request, THREAD_REQUEST_SIZE);
    CHECK_PTHREAD(pthread_mutex_unlock(&entry->request_lock));
}

/* The list's lock held. */
static struct thread_view view_of(struct entry *entry)
{
    struct thread_view view = {.tid = entry->tid,
                               .role = entry->role,
                               .state = atomic_load(&entry->state),
                               .since_ns = atomic_load(&entry->since_ns),
                               .turn = atomic_load(&entry->turn)};
    copy_request(entry, view.request);
    return view;
}

unsigned thread_state_list(struct thread_view **views)
{
    unsigned filled = 0; /* the lock is held: as many as were counted */
    struct entry *entry;
    CHECK_PTHREAD(pthread_mutex_lock(&list_lock));
    *views = calloc(listed_count ? listed_count : 1, sizeof **views);
    for (unsigned part = 0; *views && part < PARTS; part++)
        LIST_FOREACH (entry, &entries[part], link)
            (*views)[filled++] = view_of(entry);
    assert(filled == listed_count || !*views);
    CHECK_PTHREAD(pthread_mutex_unlock(&list_lock));
    return filled;
}

bool thread_state_is_at(long tid, uint64_t turn, enum thread_state *state)
{
    CHECK_PTHREAD(pthread_mutex_lock(&list_lock));
    struct entry *entry = LIST_FIRST(part_of(tid));
    while (entry && entry->tid != tid)
        entry = LIST_NEXT(entry, link);
    bool is_at = entry && atomic_load(&entry->turn) == turn;
    *state = is_at ? atomic_load(&entry->state) : THREAD_IDLE;
    CHECK_PTHREAD(pthread_mutex_unlock(&list_lock));
    return is_at;
}

void thread_state_count(unsigned counts[THREAD_STATES])
{
    struct entry *entry;
    memset(counts, 0, THREAD_STATES * sizeof *counts);
    CHECK_PTHREAD(pthread_mutex_lock(&list_lock));
    for (unsigned part = 0; part < PARTS; part++)
        LIST_FOREACH (entry, &entries[part], link)
            counts[atomic_load(&entry->state)]++;
    CHECK_PTHREAD(pthread_mutex_unlock(&list_lock));
}

static void log_wait_begins(void)
{
    before_log_lock = thread_state_set(THREAD_LOG_LOCK);
}

static void log_wait_ends(void)
{
    thread_state_set(before_log_lock);
}

void thread_state_watch_log(void)
{
    log_set_lock_hooks(log_wait_begins, log_wait_ends);
}
