/*
 * The toggle `deadline`: whether a request's deadline reaches what the request waits for.
 */
#ifndef FLASHOVER_DEADLINE_H
#define FLASHOVER_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

struct deadline_ops {
    const char *name;
    /* The deadline that checkout, connect and query are given, of a request whose own is this. */
    int64_t (*for_waits)(int64_t request_deadline_ns);
    /* Whether the handler, with a whole answer in its hands, finds that it is too late for it. */
    bool (*is_missed)(int64_t request_deadline_ns, int64_t now_ns);
};

extern const struct deadline_ops deadline_propagated;
extern const struct deadline_ops deadline_ignored;

#endif
