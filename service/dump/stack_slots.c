#include "service/dump/stack_slots.h"

#include "common/check.h"
#include "common/clock.h"

#define UNW_LOCAL_ONLY
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libunwind.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Between two looks at who has answered. */
#define LOOK_NS (500 * CLOCK_NS_PER_US)
/* Threads that end meanwhile never answer: so often it is asked which of them are still there. */
#define PRESENCE_NS (25 * CLOCK_NS_PER_MS)
/* When no more answers have come for so long, the rest have their signals blocked. */
#define QUIET_NS (500 * CLOCK_NS_PER_MS)
/* While threads are being frozen others may still start some: the list is read until nobody new is
 * on it, but not for ever. */
#define MAX_ROUNDS 20
/* Procedures whose unwinding rules libunwind remembers; its default of 128 is fewer than the
 * threads here are in at one time, and a miss reads the tables of all libraries. */
#define UNWIND_CACHE 1024

static struct stack_slots *_Atomic current; /* of the collection under way */
static _Thread_local volatile sig_atomic_t is_unwinding;
static _Thread_local sigjmp_buf unwinding_stop;

struct stack_slots *stack_slots_open(unsigned capacity, bool freezes)
{
    assert(capacity > 0);
    size_t head = sizeof(struct stack_slots);
    size_t size = head + capacity * (sizeof(struct stack_slot) + sizeof(pid_t));
    char *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    struct stack_slots *slots = (struct stack_slots *)(void *)memory;
    slots->capacity = capacity;
    slots->pid = getpid();
    /* Now, since none may be left when it is needed. */
    slots->task_fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    slots->freezes = freezes;
    slots->slots = (struct stack_slot *)(void *)(memory + head);
    slots->tids = (pid_t *)(void *)(slots->slots + capacity);
    return slots;
}

bool stack_slots_is_unwinding(void)
{
    return is_unwinding;
}

void stack_slots_stop_unwinding(void)
{
    siglongjmp(unwinding_stop, 1);
}

/* A local unwind over the tables in the binaries. libunwind's own locks are held with all signals
 * blocked, and the loader's list of libraries is under a recursive lock, so a thread cannot block
 * itself; nor can a frozen one hold either of them. */
static void follow_stack(struct stack_slot *slot, const void *context)
{
    unw_cursor_t cursor;
    unw_context_t here; /* which is a ucontext_t on this machine */
    slot->depth = 0;
    if (context)
        memcpy(&here, context, sizeof here);
    else if (unw_getcontext(&here) != 0)
        return;
    if (sigsetjmp(unwinding_stop, 1) == 0) {
        is_unwinding = 1;
        int more = unw_init_local2(&cursor, &here, context ? UNW_INIT_SIGNAL_FRAME : 0) == 0;
        while (more > 0 && slot->depth < STACK_FRAMES) {
            unw_word_t address = 0;
            if (unw_get_reg(&cursor, UNW_REG_IP, &address) != 0 || address == 0)
                break;
            slot->addresses[slot->depth++] = address;
            more = unw_step(&cursor);
        }
    }
    is_unwinding = 0;
}

static void write_slot(struct stack_slots *slots, struct stack_slot *slot, const void *context)
{
    enum stack_status asked = STACK_ASKED;
    if (!atomic_compare_exchange_strong(&slot->status, &asked, STACK_WRITING))
        return; /* a signal of an earlier collection came first, or this one is done */
    thread_state_read_own(&slot->thread);
    follow_stack(slot, context);
    atomic_store(&slot->status, STACK_ANSWERED);
    atomic_fetch_add(&slots->answered, 1);
}

/* The slot of a thread, or NULL. */
static struct stack_slot *find(struct stack_slots *slots, pid_t tid)
{
    unsigned count = atomic_load(&slots->count);
    for (unsigned i = 0; i < count; i++)
        if (slots->tids[i] == tid)
            return &slots->slots[i];
    return NULL;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    int error = errno;
    struct stack_slots *slots = atomic_load(&current);
    pid_t tid = (pid_t)thread_state_tid();
    /* Not who collects: it may still be asked by another collection, and must not freeze itself. */
    struct stack_slot *slot = slots && tid != slots->own_tid ? find(slots, tid) : NULL;
    (void)number;
    (void)info;
#ifdef __SANITIZE_THREAD__
    context = NULL; /* TSan calls handlers later, when that context may be gone */
#endif
    if (slot)
        write_slot(slots, slot, context);
    while (slot && slots->freezes)
        pause();
    errno = error;
}

void stack_slots_install(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct stack_slot first = {0};
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGSEGV); /* see stack_slots_stop_unwinding() */
    sigdelset(&action.sa_mask, SIGBUS);
    sigaction(SIGURG, &action, NULL);
    /* libunwind sets itself up at its first use, which had better not be in a handler. */
    unw_set_cache_size(unw_local_addr_space, UNWIND_CACHE, 0);
    follow_stack(&first, NULL);
}

/* A slot for the thread; the one whose owner may still be writing, late, is passed over. */
static struct stack_slot *add(struct stack_slots *slots, pid_t tid)
{
    unsigned index = atomic_load(&slots->count);
    while (index < slots->capacity && atomic_load(&slots->slots[index].status) == STACK_WRITING) {
        slots->tids[index++] = 0;
        atomic_fetch_add(&slots->answered, 1);
    }
    if (index == slots->capacity) {
        slots->missed++;
        return NULL;
    }
    struct stack_slot *slot = &slots->slots[index];
    slots->tids[index] = tid;
    slot->depth = 0;
    atomic_store(&slot->status, STACK_ASKED);
    atomic_store(&slots->count, index + 1);
    return slot;
}

static bool is_there(const struct stack_slots *slots, pid_t tid)
{
    return syscall(SYS_tgkill, slots->pid, tid, 0) == 0;
}

/* Nothing new when the thread has a slot or is gone. */
static bool ask(struct stack_slots *slots, pid_t tid)
{
    if (find(slots, tid) || !is_there(slots, tid))
        return false;
    struct stack_slot *slot = add(slots, tid);
    if (slot)
        syscall(SYS_tgkill, slots->pid, tid, SIGURG);
    return slot != NULL;
}

static pid_t to_tid(const char *name)
{
    pid_t tid = 0;
    while (*name >= '0' && *name <= '9')
        tid = 10 * tid + (*name++ - '0');
    return tid;
}

/* Asks all threads that are on the kernel's list; the count of those not asked before. By the
 * system call: opendir() allocates. */
static unsigned ask_all(struct stack_slots *slots)
{
    _Alignas(struct dirent64) char buffer[4096];
    unsigned asked = 0;
    long size;
    if (lseek(slots->task_fd, 0, SEEK_SET) < 0)
        return 0;
    while ((size = syscall(SYS_getdents64, slots->task_fd, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < size;) {
            const struct dirent64 *entry = (const struct dirent64 *)(void *)(buffer + at);
            pid_t tid = to_tid(entry->d_name);
            asked += tid > 0 && ask(slots, tid);
            at += entry->d_reclen;
        }
    return asked;
}

static void drop_the_gone(struct stack_slots *slots)
{
    unsigned count = atomic_load(&slots->count);
    for (unsigned i = 0; i < count; i++) {
        enum stack_status asked = STACK_ASKED;
        if (slots->tids[i] && atomic_load(&slots->slots[i].status) == STACK_ASKED &&
            !is_there(slots, slots->tids[i]) &&
            atomic_compare_exchange_strong(&slots->slots[i].status, &asked, STACK_GONE))
            atomic_fetch_add(&slots->answered, 1);
    }
}

static void wait_for_answers(struct stack_slots *slots, int64_t deadline_ns)
{
    int64_t presence_ns = clock_now_ns() + PRESENCE_NS;
    int64_t quiet_since_ns = clock_now_ns();
    unsigned before = 0;
    for (unsigned answered; (answered = atomic_load(&slots->answered)) < atomic_load(&slots->count);
         before = answered) {
        int64_t now_ns = clock_now_ns();
        if (answered != before)
            quiet_since_ns = now_ns;
        if (now_ns - quiet_since_ns >= QUIET_NS)
            deadline_ns = now_ns;
        if (now_ns >= presence_ns || now_ns >= deadline_ns) {
            drop_the_gone(slots);
            presence_ns = now_ns + PRESENCE_NS;
        }
        if (now_ns >= deadline_ns)
            return;
        clock_sleep_until(now_ns + LOOK_NS);
    }
}

void stack_slots_begin(struct stack_slots *slots, const void *own, long other_tid)
{
    slots->at_ns = clock_now_ns();
    slots->missed = 0;
    slots->own_tid = (pid_t)thread_state_tid();
    slots->other_tid = other_tid;
    atomic_store(&slots->is_collecting, true);
    atomic_store(&slots->count, 0);
    atomic_store(&slots->answered, 0);
    struct stack_slot *mine = add(slots, slots->own_tid);
    atomic_store(&current, slots);
    if (other_tid)
        ask(slots, (pid_t)other_tid);
    if (mine)
        write_slot(slots, mine, own);
}

void stack_slots_collect(struct stack_slots *slots, int64_t deadline_ns)
{
    for (int round = 0; ask_all(slots) > 0 && slots->freezes && round < MAX_ROUNDS; round++)
        continue;
    wait_for_answers(slots, deadline_ns);
    if (!slots->freezes) {
        struct stack_slots *mine_only = slots; /* a freezing one that came in between stays */
        atomic_compare_exchange_strong(&current, &mine_only, NULL);
    }
    slots->took_ns = clock_now_ns() - slots->at_ns;
    atomic_store(&slots->is_collecting, false);
}
