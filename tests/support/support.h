/* What every unit test needs: cmocka with its prerequisites, and waiting for a condition, up to a
 * deadline. */
#ifndef FLASHOVER_TESTS_SUPPORT_SUPPORT_H
#define FLASHOVER_TESTS_SUPPORT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/check.h"
#include "common/clock.h"

/* Generous: only a failing test waits so long. */
#define TEST_PATIENCE_NS (20 * CLOCK_NS_PER_S)

/* Waits until the condition holds; fails the test if it does not in time. */
#define wait_until(condition)                                                                      \
    do {                                                                                           \
        int64_t give_up_ns_ = clock_now_ns() + TEST_PATIENCE_NS;                                   \
        while (!(condition)) {                                                                     \
            if (clock_now_ns() > give_up_ns_)                                                      \
                fail_msg("never came true: %s", #condition);                                       \
            clock_sleep_until(clock_now_ns() + CLOCK_NS_PER_MS);                                   \
        }                                                                                          \
    } while (0)

#endif
