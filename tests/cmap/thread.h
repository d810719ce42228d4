/* The threads that a scenario starts. All functions take the session's lock. */
#ifndef FLASHOVER_TESTS_CMAP_THREAD_H
#define FLASHOVER_TESTS_CMAP_THREAD_H

#include "tests/cmap/session.h"

/* Starts a thread of this name, which must be a string of the scenario's. */
void cmap_thread_start(struct cmap_session *session, const char *name);

/* Has the thread that the operation names execute it, after what it was given before. */
void cmap_thread_post(struct cmap_session *session, const struct cmap_operation *operation);

/* Waits, within a bound, until the thread has done all it was given, and ends it. Its first error
 * goes into *error. */
void cmap_thread_wait(struct cmap_session *session, const char *name, struct cmap_error *error);

/* Joins all threads, once session->is_ending is set and the pool is closed. */
void cmap_threads_end(struct cmap_session *session);

#endif
