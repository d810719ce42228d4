/*
 * deadline=propagated: the request's deadline reaches every wait.
 * FIX of ignored.c.
 */
#include "service/variants/deadline/deadline.h"

static int64_t for_waits(int64_t request_deadline_ns)
{
    /* FIX: no wait lasts beyond the request's deadline, and nothing is begun after it. */
    return request_deadline_ns;
}

static bool is_missed(int64_t request_deadline_ns, int64_t now_ns)
{
    /* Each wait looked at the clock, so its result came in time. */
    (void)request_deadline_ns, (void)now_ns;
    return false;
}

const struct deadline_ops deadline_propagated = {for_waits, is_missed};
