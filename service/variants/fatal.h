/*
 * The toggle `fatal`: what a detected concurrent write does.
 */
#ifndef FLASHOVER_FATAL_H
#define FLASHOVER_FATAL_H

struct fatal_ops {
    const char *name;
    /* Called by the second of two writers, in its own thread, from the middle of the write. Does
     * not return, but for a test's: the process or the thread ends. */
    void (*concurrent_map_writes)(void);
};

extern const struct fatal_ops fatal_abort;
extern const struct fatal_ops fatal_exit_thread;

#endif
