/*
 * A scenario under way: the pool, its database, its events, the connections that are checked out
 * and the threads that the file starts.
 */
#ifndef FLASHOVER_TESTS_CMAP_SESSION_H
#define FLASHOVER_TESTS_CMAP_SESSION_H

#include "service/pool/pool.h"
#include "tests/cmap/database.h"
#include "tests/cmap/recorder.h"
#include "tests/cmap/scenario.h"

/* An operation's error, as CMAP names them: what a file's `error` is held against. */
struct cmap_error {
    const char *type; /* a string constant; NULL: no error */
    char message[FAILURE_MESSAGE_SIZE];
};

/* A connection that is checked out. All fields (m) of the session. */
struct cmap_slot {
    const char *label; /* NULL: no operation refers to it */
    struct db_slot *slot;
};

/* A thread of the file: executes its operations one after the other, as they come in. After an
 * error it does none of those that are left. All fields but the first (m) of the session. */
struct cmap_thread {
    struct cmap_session *session; /* (i) */
    const char *name;
    pthread_t thread;
    const struct cmap_operation **queue; /* room for all operations of the file; owned */
    size_t posted, taken;
    const char *doing; /* the operation under way; NULL: none */
    bool is_closed;    /* nothing more will be posted */
    bool has_ended;
    struct cmap_error error; /* the first, from then on for waitForThread */
    struct cmap_thread *next;
};

/* Lock key: (i) immutable once opened, (m) under `lock`, (a) atomic. The lock is not held while a
 * function of the pool or the recorder is called. */
struct cmap_session {
    const struct cmap_scenario *scenario; /* (i) */
    struct db_pool_config config;         /* (i) as the pool was opened with it */
    struct db_pool *pool;                 /* (i) */
    struct cmap_database database;        /* see there */
    struct cmap_recorder recorder;        /* see there */
    _Atomic size_t at;                    /* (a) the main thread's operation, from 1; 0: none */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_ending;              /* (m) threads end, waits end at once */
    struct cmap_slot *slots;     /* (m) */
    size_t slot_count;           /* (m) */
    struct cmap_thread *threads; /* (m) the list; owned */
    struct cmap_why why;         /* (m) what went wrong, beside CMAP's errors */
};

/* Opens the pool, paused. In place: the session must not move. False and session->why when that
 * fails; the session is to be closed in either case. */
bool cmap_session_open(struct cmap_session *session, const struct cmap_scenario *scenario,
                       const struct cmap_settings *settings) __attribute__((warn_unused_result));

/* Ends the threads, gives back what is checked out, closes and frees the pool. A pool that leaves
 * something behind is a reason in session->why. */
void cmap_session_close(struct cmap_session *session);

/* Notes what went wrong, as cmap_why_set(). Takes the lock. Returns false. */
bool cmap_session_fail(struct cmap_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether something went wrong. Takes the lock. */
bool cmap_session_failed(struct cmap_session *session);

/* Keeps a connection under its label. Takes the lock. */
void cmap_session_keep(struct cmap_session *session, const char *label, struct db_slot *slot);

/* The connection last kept under the label, which is the caller's now; NULL: there is none. Takes
 * the lock. */
struct db_slot *cmap_session_take(struct cmap_session *session, const char *label)
    __attribute__((warn_unused_result));

#endif
