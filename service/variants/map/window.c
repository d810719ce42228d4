#include "service/variants/map/map.h"

#include "common/clock.h"

#include <stddef.h>

void (*map_window)(enum map_point point);

static unsigned window_us;

static void wait_while_writing(enum map_point point)
{
    if (point == MAP_WRITING)
        clock_sleep_until(clock_now_ns() + window_us * CLOCK_NS_PER_US);
}

void map_pass(enum map_point point)
{
    if (map_window)
        map_window(point);
}

void map_window_set_us(unsigned us)
{
    window_us = us;
    map_window = us ? wait_while_writing : NULL;
}
