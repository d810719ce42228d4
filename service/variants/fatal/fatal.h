/*
 * The toggle `fatal`: what a detected concurrent write does.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_FATAL_FATAL_H
#define FLASHOVER_SERVICE_VARIANTS_FATAL_FATAL_H

struct fatal_ops {
    /* Called by the second of two writers, in its own thread, from the middle of the write. Does
     * not return, but for a test's: the process or the thread ends. */
    void (*concurrent_map_writes)(void);
};

extern const struct fatal_ops fatal_abort;
extern const struct fatal_ops fatal_exit_thread;

#endif
