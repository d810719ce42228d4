/*
 * deadline=propagated: the request's deadline reaches every wait.
 * FIX of deadline_ignored.c.
 */
#include "service/variants/deadline.h"

static int64_t for_waits(int64_t request_deadline_ns)
{
    /* FIX: what nobody will wait for any more is not begun, and not waited for. */
    return request_deadline_ns;
}

static bool is_missed(int64_t request_deadline_ns, int64_t now_ns)
{
    /* Each wait has looked at the clock: what came of it came in time. */
    (void)request_deadline_ns, (void)now_ns;
    return false;
}

const struct deadline_ops deadline_propagated = {"propagated", for_waits, is_missed};
