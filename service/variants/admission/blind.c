/*
 * admission=blind: a connection goes to the first in the queue, as the incident's driver did it.
 * BUG, mended in deadline.c.
 */
#include "service/variants/admission/admission.h"

static bool admit(int64_t deadline_ns, int64_t now_ns)
{
    /* FLAW: a waiter past its deadline wins a connection that it may not write to any more. */
    (void)deadline_ns, (void)now_ns;
    return true;
}

const struct admission_ops admission_blind = {admit};
