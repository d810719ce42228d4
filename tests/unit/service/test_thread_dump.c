/* What a dump prints, and that processes print it while they really die. Each of these is a child.
 * Its stderr is read to the end, so until its helper has ended too. */
#include "service/base/signal_stack.h"
#include "service/dump/crash_dump.h"
#include "service/dump/helper.h"
#include "service/dump/thread_dump.h"
#include "tests/support/support.h"

#include <jansson.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOW_NS (1000 * CLOCK_NS_PER_S)

/* ---- the report --------------------------------------------------------------------------------
 */

/* Address 100 is in a plain function, 200 in an inlined one and its caller, 300 in the collection
 * itself. */
static unsigned resolve(void *context, uintptr_t address, const struct dump_frame **frames)
{
    static const struct dump_frame wait = {"wait \"quoted\"", "libc.so.6", 0};
    static const struct dump_frame inlined[] = {{"put", "service/map.c", 12},
                                                {"run", "service/query.c", 34}};
    static const struct dump_frame own = {"collect", "service/dump/stack_slots.c", 1};
    (void)context;
    if (address == 300 || address == 299)
        return *frames = &own, 1;
    bool is_wait = address == 100 || address == 99;
    assert_true(is_wait || address == 200 || address == 199);
    *frames = is_wait ? &wait : inlined;
    return is_wait ? 1 : 2;
}

static const struct dump_resolver resolver = {.resolve = resolve};

static void add_thread(struct stack_slots *slots, long tid, const char *role, const char *request,
                       enum thread_state state, int64_t age_ms, uintptr_t first, uintptr_t second)
{
    unsigned index = atomic_fetch_add(&slots->count, 1);
    struct stack_slot *slot = &slots->slots[index];
    slots->tids[index] = (pid_t)tid;
    slot->thread = (struct thread_view){.tid = tid,
                                        .role = role,
                                        .state = state,
                                        .since_ns = slots->at_ns - age_ms * CLOCK_NS_PER_MS};
    snprintf(slot->thread.request, sizeof slot->thread.request, "%s", request);
    slot->addresses[0] = first;
    slot->addresses[1] = second;
    slot->depth = second ? 2 : 1;
    atomic_store(&slot->status, STACK_ANSWERED);
}

static struct stack_slots *make_slots(bool is_dying)
{
    struct stack_slots *slots = stack_slots_open(16, is_dying);
    assert_non_null(slots);
    slots->at_ns = NOW_NS;
    add_thread(slots, 1, "item", "r1", THREAD_RUNNING, 0, 300, 200);
    add_thread(slots, 9, "item", "r1", THREAD_RUNNING, 3, 200, 0);
    if (is_dying) {
        slots->own_mark = "found";
        slots->other_mark = "was writing";
        slots->other_tid = 9;
    }
    add_thread(slots, 2, "main", "", THREAD_IDLE, 5000, 100, 0);
    for (long i = 0; i < 5; i++)
        add_thread(slots, 20 + i, "item", (const char *[]){"r1", "r2", "r3", "r4", "r1"}[i],
                   THREAD_POOL_CHECKOUT, 12 + 200 * i, 100, 200);
    add_thread(slots, 30, NULL, "", THREAD_IDLE, 0, 100, 0);
    add_thread(slots, 40, "item", "r5", THREAD_QUERY, 0, 100, 0);
    atomic_store(&slots->slots[atomic_load(&slots->count) - 1].status, STACK_ASKED);
    add_thread(slots, 50, "item", "r5", THREAD_QUERY, 0, 100, 0);
    atomic_store(&slots->slots[atomic_load(&slots->count) - 1].status, STACK_GONE);
    slots->missed = 2;
    return slots;
}

static void test_text(void **state)
{
    struct text out = {0};
    (void)state;
    assert_true(dump_report_write(make_slots(true), &resolver, DUMP_TEXT, &out));
    assert_string_equal(out.data,
                        "thread 1 [running, 0 ms]: item, request r1 (found)\n"
                        "put\n\tservice/map.c:12\nrun\n\tservice/query.c:34\n\n"
                        "thread 9 [running, 3 ms]: item, request r1 (was writing)\n"
                        "put\n\tservice/map.c:12\nrun\n\tservice/query.c:34\n\n"
                        "5 threads [pool checkout, 12 ms to 812 ms]: item, request r1, r2, "
                        "r3 and 1 more\n"
                        "wait \"quoted\"\n\tlibc.so.6\n"
                        "put\n\tservice/map.c:12\nrun\n\tservice/query.c:34\n\n"
                        "thread 30 [other]:\nwait \"quoted\"\n\tlibc.so.6\n\n"
                        "thread 2 [idle, 5000 ms]: main\nwait \"quoted\"\n\tlibc.so.6\n\n"
                        "thread 40 [no answer]:\n\n"
                        "2 more threads, for which there was no slot\n\n");
    text_clear(&out);
}

static void test_json(void **state)
{
    struct text out = {0};
    const char *name, *function, *file;
    int count, shortest, longest, requests, line;
    (void)state;
    assert_true(dump_report_write(make_slots(false), &resolver, DUMP_JSON, &out));
    json_t *groups = json_loadb(out.data, out.size_bytes, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_array_size(groups), 6);
    json_t *group = json_array_get(groups, 0);
    assert_int_equal(json_unpack(group, "{s:s, s:i, s:i, s:i, s:i, s:[{s:s, s:s, s:i}]}", "state",
                                 &name, "count", &count, "shortest_ms", &shortest, "longest_ms",
                                 &longest, "requests", &requests, "stack", "function", &function,
                                 "file", &file, "line", &line),
                     0);
    assert_string_equal(name, "pool checkout");
    assert_int_equal(count, 5);
    assert_int_equal(shortest, 12);
    assert_int_equal(longest, 812);
    assert_int_equal(requests, 4);
    assert_string_equal(function, "wait \"quoted\"");
    assert_string_equal(file, "libc.so.6");
    assert_int_equal(line, 0);
    assert_int_equal(json_array_size(json_object_get(group, "stack")), 3);
    assert_int_equal(json_array_size(json_object_get(group, "request_ids")), 3);
    assert_int_equal(json_array_size(json_object_get(group, "threads")), 5);
    json_t *last = json_array_get(groups, 5);
    assert_string_equal(json_string_value(json_object_get(last, "state")), "no answer");
    assert_true(json_is_null(json_object_get(last, "longest_ms")));
    json_decref(groups);
    text_clear(&out);
}

/* ---- processes that die ------------------------------------------------------------------------
 */

#if !defined __SANITIZE_THREAD__ && !defined __SANITIZE_ADDRESS__

static char output[1 << 20]; /* what the last child wrote to its stderr */
static _Atomic unsigned waiting;

static void *wait_for_ever(void *argument)
{
    thread_state_enter("item", "waits-1");
    thread_state_set(THREAD_QUERY);
    atomic_fetch_add(&waiting, 1);
    for (;;)
        pause();
    return argument;
}

static void start_waiting(void *(*body)(void *), unsigned count)
{
    pthread_t thread;
    for (unsigned i = 0; i < count; i++)
        CHECK_PTHREAD(pthread_create(&thread, NULL, body, NULL));
    wait_until(atomic_load(&waiting) == count);
}

/* The size of this process's address space, in pages. */
static long mapped_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    long pages = 0;
    assert_int_equal(fscanf(file, "%ld", &pages), 1); // NOLINT(cert-err34-c)
    fclose(file);
    return pages;
}

/* Runs `body` in a child that can dump, beside three threads that wait. Returns its wait status. */
static int run_dying(void (*body)(void))
{
    static char arguments[] = "test_thread_dump with room for a name";
    static char *argv[] = {arguments};
    const struct dump_helper_config config = {.max_threads = 64, .argc = 1, .argv = argv};
    int fds[2], status;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        alarm(60);
        if (!dump_helper_start(&config))
            _exit(99);
        for (int signal_number = 1; signal_number < NSIG; signal_number++)
            signal(signal_number, SIG_DFL); /* removes cmocka's handlers */
        crash_dump_install();
        thread_state_enter("main", "dies-1");
        start_waiting(wait_for_ever, 3);
        body();
        _exit(0);
    }
    close(fds[1]);
    size_t size = 0;
    for (ssize_t got; size < sizeof output - 1; size += (size_t)got)
        if ((got = read(fds[0], output + size, sizeof output - 1 - size)) <= 0)
            break;
    output[size] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void assert_printed(const char *text)
{
    if (!strstr(output, text))
        fail_msg("'%s' is not in:\n%s", text, output);
}

static void assert_all_printed(void)
{
    assert_printed("3 threads [query, ");
    assert_printed("]: item, request waits-1\n");
    assert_printed("\nwait_for_ever\n\ttests/unit/service/test_thread_dump.c:");
    assert_printed("]: main, request dies-1");
}

static void __attribute__((noinline)) fault(void)
{
    volatile int *volatile nowhere = (int *)8;
    *nowhere = 1;
}

static void test_fault(void **state)
{
    (void)state;
    int status = run_dying(fault);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_printed("fatal error: SIGSEGV: segmentation violation at address 0x8\n");
    assert_printed("(where the signal came)\nfault\n\ttests/unit/service/test_thread_dump.c:");
    assert_all_printed();
}

static volatile int deepest = INT_MAX; /* deeper than any stack, which no compiler knows */

static int __attribute__((noinline)) call_itself(int depth)
{
    volatile char frame[1024];
    frame[0] = (char)depth;
    return depth < deepest ? call_itself(depth + 1) + frame[0] : 0;
}

static void *overflow(void *argument)
{
    thread_state_enter("connector", "");
    *(int *)argument = call_itself(1);
    return NULL;
}

static void overflow_a_background_thread(void)
{
    int result;
    pthread_t thread;
    CHECK_PTHREAD(pthread_create(&thread, NULL, overflow, &result));
    CHECK_PTHREAD(pthread_join(thread, NULL));
}

/* Its handler has no room on the stack that overflowed. */
static void test_stack_overflow(void **state)
{
    (void)state;
    int status = run_dying(overflow_a_background_thread);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_printed("fatal error: SIGSEGV: segmentation violation at address 0x");
    assert_printed("]: connector (where the signal came)\ncall_itself\n\t"
                   "tests/unit/service/test_thread_dump.c:");
    assert_all_printed();
}

static void *start_and_end(void *argument)
{
    signal_stack_use();
    signal_stack_use();
    stack_t own;
    assert_int_equal(sigaltstack(NULL, &own), 0);
    assert_false(own.ss_flags & SS_DISABLE);
    return argument;
}

/* A connection's thread has one, and connections come and go all day. */
static void test_signal_stacks_end_with_their_threads(void **state)
{
    long before = 0;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        pthread_t thread;
        CHECK_PTHREAD(pthread_create(&thread, NULL, start_and_end, NULL));
        CHECK_PTHREAD(pthread_join(thread, NULL));
        if (i == 10)
            before = mapped_pages();
    }
    assert_in_range(mapped_pages(), 1, before + 256);
}

static void __attribute__((noinline)) call_nowhere(void)
{
    void (*volatile nowhere)(void) = (void (*)(void))16;
    nowhere();
}

/* Such an address cannot be unwound, but all threads are printed. */
static void test_jump_into_nowhere(void **state)
{
    (void)state;
    int status = run_dying(call_nowhere);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_all_printed();
}

/* Overwrites the size of the heap's last chunk. The next malloc notices and aborts, while it holds
 * its arena's lock. */
static void __attribute__((noinline)) damage_heap(void)
{
    char *volatile last = malloc(100000);
    size_t *volatile top = (size_t *)(void *)(last + malloc_usable_size(last));
    *top = ~(size_t)0xff;
    for (int i = 0; i < 100; i++)
        top = malloc(120000);
}

static void test_damaged_heap_and_malloc_locked(void **state)
{
    (void)state;
    int status = run_dying(damage_heap);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_printed("malloc(): corrupted top size\nfatal error: SIGABRT: abort\n");
    assert_printed("\ndamage_heap\n\ttests/unit/service/test_thread_dump.c:");
    assert_all_printed();
}

static void *block_signals(void *argument)
{
    sigset_t all;
    sigfillset(&all);
    CHECK_PTHREAD(pthread_sigmask(SIG_BLOCK, &all, NULL));
    return wait_for_ever(argument);
}

static void dump_on_demand(void)
{
    struct text first = {0};
    struct text second = {0};
    atomic_store(&waiting, 0);
    start_waiting(block_signals, 1);
    bool ok = thread_dump(DUMP_TEXT, &first) && thread_dump(DUMP_TEXT, &second);
    fputs(ok ? second.data : "no dump", stderr);
}

static void test_a_thread_that_does_not_answer(void **state)
{
    (void)state;
    int status = run_dying(dump_on_demand);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_printed(" [no answer]:\n\n");
    assert_all_printed();
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
#if !defined __SANITIZE_THREAD__ && !defined __SANITIZE_ADDRESS__
        cmocka_unit_test(test_fault),
        cmocka_unit_test(test_stack_overflow),
        cmocka_unit_test(test_signal_stacks_end_with_their_threads),
        cmocka_unit_test(test_jump_into_nowhere),
        cmocka_unit_test(test_damaged_heap_and_malloc_locked),
        cmocka_unit_test(test_a_thread_that_does_not_answer),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
