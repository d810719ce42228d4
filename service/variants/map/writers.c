#include "service/variants/map/writers.h"

#include "service/base/thread_state.h"
#include "service/dump/crash_dump.h"

void map_writers_begin(struct map_writers *writers)
{
    long last = atomic_load_explicit(&writers->last, memory_order_relaxed);
    atomic_store_explicit(&writers->before, last, memory_order_relaxed);
    atomic_store_explicit(&writers->last, thread_state_tid(), memory_order_relaxed);
}

void map_writers_end(void)
{
    crash_dump_hold();
}

void map_writers_name_other(struct map_writers *writers)
{
    long last = atomic_load_explicit(&writers->last, memory_order_relaxed);
    long before = atomic_load_explicit(&writers->before, memory_order_relaxed);
    crash_dump_name_writer(last != thread_state_tid() ? last : before);
}
