/*
 * The toggle `deadline`: whether a request's deadline reaches what the request waits for.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_DEADLINE_DEADLINE_H
#define FLASHOVER_SERVICE_VARIANTS_DEADLINE_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

struct deadline_ops {
    /* The deadline that checkout, connect and query are given, of a request whose own is this. */
    int64_t (*for_waits)(int64_t request_deadline_ns);
    /* Whether a whole answer comes too late to be sent. */
    bool (*is_missed)(int64_t request_deadline_ns, int64_t now_ns);
};

extern const struct deadline_ops deadline_propagated;
extern const struct deadline_ops deadline_ignored;

#endif
