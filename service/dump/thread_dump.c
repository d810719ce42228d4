#include "service/dump/thread_dump.h"

#include "common/check.h"
#include "common/clock.h"
#include "service/dump/helper.h"

#define TURN_NS    (5 * CLOCK_NS_PER_S)
#define COLLECT_NS (4 * CLOCK_NS_PER_S)
#define REPORT_NS  (5 * CLOCK_NS_PER_S)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn;
static pthread_once_t turn_once = PTHREAD_ONCE_INIT;
static bool is_taken; /* (m) under `lock` */

static void init_turn(void)
{
    clock_cond_init(&turn);
}

static bool take_turn(int64_t deadline_ns)
{
    struct timespec deadline = clock_timespec(deadline_ns);
    int result = 0;
    CHECK_PTHREAD(pthread_once(&turn_once, init_turn));
    CHECK_PTHREAD(pthread_mutex_lock(&lock));
    while (is_taken && result == 0)
        result = pthread_cond_timedwait(&turn, &lock, &deadline);
    bool is_mine = !is_taken;
    is_taken = true;
    CHECK_PTHREAD(pthread_mutex_unlock(&lock));
    return is_mine;
}

static void give_turn(void)
{
    CHECK_PTHREAD(pthread_mutex_lock(&lock));
    assert(is_taken);
    is_taken = false;
    CHECK_PTHREAD(pthread_cond_signal(&turn));
    CHECK_PTHREAD(pthread_mutex_unlock(&lock));
}

bool thread_dump(enum dump_format format, struct text *out)
{
    struct stack_slots *slots = dump_helper_slots(DUMP_ON_DEMAND);
    if (!slots || !take_turn(clock_now_ns() + TURN_NS))
        return false;
    stack_slots_begin(slots, NULL, 0);
    stack_slots_collect(slots, clock_now_ns() + COLLECT_NS);
    bool ok = dump_helper_report(format, clock_now_ns() + REPORT_NS, out);
    if (!ok) {
        struct dump_resolver raw = dump_report_raw_resolver();
        ok = dump_report_write(slots, &raw, format, out);
    }
    give_turn();
    return ok;
}
