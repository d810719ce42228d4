#include "service/base/signal_stack.h"

#include "common/check.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/auxv.h>
#include <sys/mman.h>

/* A dump's handler, the unwinder, and a second fault inside of it. The processor's registers come
 * on top, twice: how many bytes they take is the machine's. */
#define HANDLER_BYTES (64UL << 10)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* the mapping, for the thread's end */
static bool has_key;
static _Thread_local bool has_stack;

static size_t size_bytes(void)
{
    return HANDLER_BYTES + 2 * getauxval(AT_MINSIGSTKSZ);
}

static void unmap(void *mapping)
{
    const stack_t none = {.ss_flags = SS_DISABLE};
    (void)sigaltstack(&none, NULL);
    (void)munmap(mapping, size_bytes());
}

static void make_key(void)
{
    has_key = pthread_key_create(&key, unmap) == 0;
}

static bool has_one_already(void)
{
    stack_t now;
    return sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE);
}

void signal_stack_use(void)
{
    if (has_stack)
        return;
    has_stack = true;
    CHECK_PTHREAD(pthread_once(&once, make_key));
    if (!has_key || has_one_already())
        return;
    void *mapping = mmap(NULL, size_bytes(), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (mapping == MAP_FAILED)
        return;
    const stack_t stack = {.ss_sp = mapping, .ss_size = size_bytes()};
    if (pthread_setspecific(key, mapping) != 0 || sigaltstack(&stack, NULL) != 0) {
        (void)pthread_setspecific(key, NULL);
        (void)munmap(mapping, size_bytes());
    }
}
