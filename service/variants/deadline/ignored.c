/*
 * deadline=ignored: only the handler looks at the clock.
 * BUG, mended in propagated.c.
 */
#include "service/variants/deadline/deadline.h"

#include "common/clock.h"

/* "For ever", as far as any request is concerned. */
#define AS_LONG_AS_IT_TAKES_NS (3600 * CLOCK_NS_PER_S)

static int64_t for_waits(int64_t request_deadline_ns)
{
    /* FLAW: threads go on queueing, connecting and querying after the caller has its answer,
     * and take the connections that the next caller needs. */
    return request_deadline_ns + AS_LONG_AS_IT_TAKES_NS;
}

static bool is_missed(int64_t request_deadline_ns, int64_t now_ns)
{
    /* No wait looked at the clock, so the handler does, afterwards. */
    return now_ns >= request_deadline_ns;
}

const struct deadline_ops deadline_ignored = {for_waits, is_missed};
