/*
 * A stack of its own for a thread's signal handlers, so that a thread that has overflowed its stack
 * can still print it. sigaltstack(2) sets one for the calling thread alone.
 */
#ifndef FLASHOVER_SERVICE_BASE_SIGNAL_STACK_H
#define FLASHOVER_SERVICE_BASE_SIGNAL_STACK_H

/* Gives the calling thread such a stack, until it ends. Costs nothing where it has one already, be
 * it a sanitizer's; without memory for one it does nothing. For threads that live long: it adds
 * some 5 us to the 33 that a thread takes to start and end. */
void signal_stack_use(void);

#endif
