/*
 * A file in cmap-format, read and checked: what the runner executes and what it then looks for.
 * Everything a file may say is known here; a key, operation, event or option that is not makes the
 * file unreadable, so that nothing is passed over in silence.
 */
#ifndef FLASHOVER_TESTS_CMAP_SCENARIO_H
#define FLASHOVER_TESTS_CMAP_SCENARIO_H

#include "service/pool/event.h"

#include <jansson.h>

/* Why a file fails, the first reason that was found: "" as long as there is none. */
struct cmap_why {
    char text[512];
};

/* Sets the reason, unless there is one. Returns false, so that a function can end with it. */
bool cmap_why_set(struct cmap_why *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* poolOptions, with CMAP's defaults in place of what the file leaves out. */
struct cmap_options {
    unsigned max_size; /* 0: no limit */
    unsigned min_size;
    unsigned max_connecting;
    int64_t max_idle_ms;            /* 0: never */
    int64_t wait_queue_timeout_ms;  /* 0: none */
    int64_t background_interval_ms; /* below 0: never */
    const char *app_name;           /* NULL: none */
};

/* failPoint: what becomes of the next connects. */
struct cmap_fail_point {
    long times;           /* so many connects; 0: none, CMAP_ALWAYS */
    int64_t block_ms;     /* each takes so much longer */
    int64_t error_code;   /* and then fails with this; 0: does not */
    bool closes;          /* and then the server hangs up */
    const char *app_name; /* only those of this name; NULL: of any */
};
#define CMAP_ALWAYS (-1L)

enum cmap_operation_kind {
    CMAP_START,
    CMAP_WAIT,
    CMAP_WAIT_FOR_THREAD,
    CMAP_WAIT_FOR_EVENT,
    CMAP_CHECK_OUT,
    CMAP_CHECK_IN,
    CMAP_CLEAR,
    CMAP_CLOSE,
    CMAP_READY
};

struct cmap_operation {
    enum cmap_operation_kind kind;
    const char *name;              /* as in the file */
    const char *thread;            /* that executes it; NULL: the main thread */
    const char *target;            /* START, WAIT_FOR_THREAD: the other thread */
    const char *label;             /* CHECK_OUT (NULL: none), CHECK_IN: the connection's */
    enum db_pool_event_type event; /* WAIT_FOR_EVENT: this one, */
    unsigned count;                /* so many of them since the beginning */
    int64_t ms;                    /* WAIT: how long; WAIT_FOR_EVENT: at most */
    bool interrupt;                /* CLEAR: connections in use, too */
};

/* Strings and JSON values belong to `root`. */
struct cmap_scenario {
    json_t *root;
    const char *description;
    struct cmap_options options;
    struct cmap_fail_point fail_point;
    struct cmap_operation *operations;
    size_t operation_count;
    const char *error_type;      /* NULL: no error is expected */
    const json_t *error_message; /* NULL: of any text */
    const json_t *error_address; /* NULL: of any */
    const json_t *events;        /* an array of objects, each a known event of known fields */
    bool ignored[DB_POOL_EVENT_TYPES];
};

/* Reads a file. False and `why` when it cannot be read, or says what is not known. The scenario is
 * to be freed in either case. */
bool cmap_scenario_read(const char *path, struct cmap_scenario *scenario, struct cmap_why *why)
    __attribute__((warn_unused_result));

void cmap_scenario_free(struct cmap_scenario *scenario);

#endif
