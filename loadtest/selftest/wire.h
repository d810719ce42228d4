/*
 * How long the way from the server's write to a caller's read takes on this machine, now. No books
 * have it, and beside a service time of 1 ms it counts. A plain caller measures it: a thread that
 * sends a request over one socket, waits for the answer and reads the clock. It shares nothing with
 * the load tester's engine.
 */
#ifndef FLASHOVER_LOADTEST_SELFTEST_WIRE_H
#define FLASHOVER_LOADTEST_SELFTEST_WIRE_H

#include <stddef.h>

struct selftest_wire;

/* Starts a server and its caller, 50 requests a second. NULL with the reason in `why`. */
struct selftest_wire *selftest_wire_start(char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* Ends both and frees `wire`; returns the mean in ms, NAN when no answer came. */
double selftest_wire_finish_ms(struct selftest_wire *wire);

#endif
