#include "service/dump/crash_dump.h"

#include "common/clock.h"
#include "common/log.h"
#include "service/dump/helper.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What does not answer in that time is shown as such, and what the helper has not printed then may
 * still come; the process does not wait longer. */
#define COLLECT_NS (2 * CLOCK_NS_PER_S)
#define PRINT_NS   (2 * CLOCK_NS_PER_S)
#define WRITE_NS   (CLOCK_NS_PER_S / 2)
/* Go's status after SIGQUIT. */
#define QUIT_STATUS 2

static _Atomic long dying; /* the thread that ends the process; 0: none */
static _Atomic bool is_installed;
static _Thread_local long other_writer;

/* ---- text without memory ----------------------------------------------------------------------
 */

struct line {
    size_t size_bytes;
    char data[2048];
};

static void add(struct line *line, const char *string)
{
    while (*string && line->size_bytes < sizeof line->data)
        line->data[line->size_bytes++] = *string++;
}

static void add_number(struct line *line, uint64_t value, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    add(line, base == 16 ? "0x" : "");
    add(line, digits + at);
}

/* A dying process does not wait for a log that nobody reads: at most so long for all that it writes
 * before the helper is asked, and once more without it. */
static int64_t write_until_ns;

static void write_bytes(const char *bytes, size_t size_bytes)
{
    log_write_bytes_until(bytes, size_bytes, write_until_ns);
}

static void write_string(const char *string)
{
    size_t size_bytes = 0;
    while (string[size_bytes])
        size_bytes++;
    write_bytes(string, size_bytes);
}

/* ---- without the helper -----------------------------------------------------------------------
 */

static void write_raw_thread(const struct stack_slots *slots, unsigned index)
{
    struct line line = {0};
    const struct stack_slot *slot = &slots->slots[index];
    bool has_answered = atomic_load(&slot->status) == STACK_ANSWERED;
    add(&line, "thread ");
    add_number(&line, (uint64_t)slots->tids[index], 10);
    add(&line, " [");
    if (!has_answered) {
        add(&line, "no answer]:");
    } else if (!slot->thread.role) {
        add(&line, "other]:");
    } else {
        int64_t ns = slots->at_ns - slot->thread.since_ns;
        add(&line, thread_state_name(slot->thread.state));
        add(&line, ", ");
        add_number(&line, ns > 0 ? (uint64_t)(ns / CLOCK_NS_PER_MS) : 0, 10);
        add(&line, " ms]: ");
        add(&line, slot->thread.role);
        add(&line, slot->thread.request[0] ? ", request " : "");
        add(&line, slot->thread.request);
    }
    for (unsigned i = 0; has_answered && i < slot->depth; i++) {
        add(&line, " ");
        add_number(&line, slot->addresses[i], 16);
    }
    add(&line, "\n");
    write_bytes(line.data, line.size_bytes);
}

/* Addresses, and the map by which they can still be resolved. */
static void write_raw(const struct stack_slots *slots)
{
    char bytes[4096];
    ssize_t got;
    unsigned count = atomic_load(&slots->count);
    write_string("\n(nobody is there to name the addresses; the memory map comes last)\n");
    for (unsigned i = 0; i < count; i++)
        if (slots->tids[i] && atomic_load(&slots->slots[i].status) != STACK_GONE)
            write_raw_thread(slots, i);
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (got = read(fd, bytes, sizeof bytes)) > 0)
        write_bytes(bytes, (size_t)got);
    if (fd >= 0)
        close(fd);
}

/* ---- the end ----------------------------------------------------------------------------------
 */

/* Whether the calling thread is to print. Of two threads the second waits for the end. */
static bool is_first_to_die(void)
{
    long nobody = 0;
    long self = thread_state_tid();
    if (atomic_compare_exchange_strong(&dying, &nobody, self))
        return true;
    while (nobody != self)
        pause();
    return false;
}

/* The other writer is stopped before anything is said: it would be gone by then. */
static void print_all(const char *reason, const void *context, const char *own_mark)
{
    struct stack_slots *slots = dump_helper_slots(DUMP_FATAL);
    size_t at = 0;
    for (; at < sizeof slots->reason - 1 && reason[at]; at++)
        slots->reason[at] = reason[at];
    slots->reason[at] = '\0';
    slots->own_mark = own_mark;
    slots->other_mark = "the first writer, in its write or just after it";
    stack_slots_begin(slots, context, other_writer);
    write_until_ns = clock_now_ns() + WRITE_NS;
    write_string(reason);
    write_string("\n");
    stack_slots_collect(slots, clock_now_ns() + COLLECT_NS);
    if (dump_helper_print(clock_now_ns() + PRINT_NS))
        return;
    write_until_ns = clock_now_ns() + WRITE_NS;
    write_raw(slots);
}

void crash_dump_name_writer(long tid)
{
    other_writer = tid;
}

void crash_dump_hold(void)
{
    while (atomic_load_explicit(&dying, memory_order_relaxed))
        pause();
}

void crash_dump_print(const char *reason)
{
    if (!atomic_load(&is_installed)) {
        write_until_ns = clock_now_ns() + WRITE_NS;
        write_string(reason);
        write_string("\n");
    } else if (is_first_to_die()) {
        if (other_writer == thread_state_tid())
            other_writer = 0; /* at the end of its own write: who wrote along is not known */
        print_all(reason, NULL, "the writer that found another one");
    }
}

static const char *name_of(int number)
{
    switch (number) {
    case SIGSEGV:
        return "SIGSEGV: segmentation violation";
    case SIGBUS:
        return "SIGBUS: bus error";
    case SIGFPE:
        return "SIGFPE: floating-point exception";
    case SIGILL:
        return "SIGILL: illegal instruction";
    case SIGABRT:
        return "SIGABRT: abort";
    default:
        return "SIGQUIT: quit";
    }
}

/* The kernel's own faults come again where this returns to, which leaves the registers and the
 * core as they were. What a process sent is sent once more, and comes when this has returned. */
static void die_by(int number, const siginfo_t *info)
{
    sigset_t again;
    sigemptyset(&again);
    sigaddset(&again, number);
    signal(number, SIG_DFL);
    if (info->si_code > 0)
        return;
    /* Until then: the handler may be interrupted by its own. */
    (void)pthread_sigmask(SIG_BLOCK, &again, NULL);
    syscall(SYS_tgkill, getpid(), thread_state_tid(), number);
}

static void on_fatal(int number, siginfo_t *info, void *context)
{
    if ((number == SIGSEGV || number == SIGBUS) && stack_slots_is_unwinding())
        stack_slots_stop_unwinding();
    if (is_first_to_die()) {
        struct line reason = {0};
        add(&reason, number == SIGQUIT ? "" : "fatal error: ");
        add(&reason, name_of(number));
        if (info->si_code > 0 && (number == SIGSEGV || number == SIGBUS)) {
            add(&reason, " at address ");
            add_number(&reason, (uintptr_t)info->si_addr, 16);
        } else if (info->si_code <= 0 && info->si_pid != getpid()) {
            add(&reason, ", sent by process ");
            add_number(&reason, (uint64_t)info->si_pid, 10);
        }
        reason.data[reason.size_bytes] = '\0';
        print_all(reason.data, context, number == SIGQUIT ? NULL : "where the signal came");
    }
    if (number == SIGQUIT)
        _exit(QUIT_STATUS);
    die_by(number, info);
}

void crash_dump_install(void)
{
    static const int numbers[] = {SIGQUIT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    struct sigaction action = {.sa_sigaction = on_fatal,
                               .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    size_t count = sizeof numbers / sizeof numbers[0];
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
    count = 1;
#endif
    stack_slots_install();
    /* Nothing comes between but what a dump itself may cause, and another thread's collection. */
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGSEGV);
    sigdelset(&action.sa_mask, SIGBUS);
    sigdelset(&action.sa_mask, SIGURG);
    for (size_t i = 0; i < count; i++)
        sigaction(numbers[i], &action, NULL);
    atomic_store(&is_installed, true);
}
