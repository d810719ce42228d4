/*
 * admission=deadline: a connection is never handed to a waiter whose deadline has passed.
 * FIX of blind.c.
 */
#include "service/variants/admission/admission.h"

static bool admit(int64_t deadline_ns, int64_t now_ns)
{
    /* FIX: a waiter that is too late to write gets nothing; the next in the queue may be in
     * time. */
    return now_ns < deadline_ns;
}

const struct admission_ops admission_deadline = {admit};
