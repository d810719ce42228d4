/*
 * The runs of `loadtest serve`: one at a time, each in a thread of its own, its live figures to be
 * read and waited for from any other. How a run ended is in the store.
 */
#ifndef FLASHOVER_LOADTEST_SERVE_RUN_CONTROL_H
#define FLASHOVER_LOADTEST_SERVE_RUN_CONTROL_H

#include "loadtest/engine/load_run.h"
#include "loadtest/judge/test_plan.h"
#include "loadtest/judge/verdict.h"
#include "loadtest/serve/run_store.h"

struct run_control;

/* The run under way, as of its latest report. */
struct run_live {
    uint64_t updates;                /* 0: no report yet, and the rest is zero */
    unsigned seconds, seconds_final; /* rows that have begun, and that change no more */
    double elapsed_s;
    uint64_t planned; /* requests of the whole run; 0: not known beforehand (closed loop) */
    bool stopping;    /* a stop was asked for */
    struct load_live figures;
    enum scrape_state service_state;
    struct service_sample service; /* valid unless SCRAPE_NEVER */
};

/* Rows of the run's seconds, from `from` on. */
struct run_seconds {
    unsigned from;
    unsigned count;
    unsigned final;          /* of the run: so many change no more */
    struct second_row *rows; /* owned by the caller */
};

/* Since the process began, the run under way included. */
struct run_totals {
    bool running;
    uint64_t outcomes[OUTCOME_COUNT];
    uint64_t in_flight;
    uint64_t runs[EXIT_INVALID + 1]; /* ended runs by exit code */
    bool has_p99;                    /* false as long as there was no request */
    double p99_s; /* of the response time: in the latest second, or else of the whole last run */
};

/* `store` is borrowed. admin_url, admin_token_file: where runs against `own` (all borrowed) look at
 * the service; NULL: nowhere. NULL without memory. */
struct run_control *run_control_new(struct run_store *store, const struct target *own,
                                    const char *admin_url, const char *admin_token_file)
    __attribute__((warn_unused_result));

/* For a control whose run has ended. */
void run_control_free(struct run_control *control);

enum run_control_outcome {
    RUN_CONTROL_OK,
    RUN_CONTROL_BUSY,      /* another run is under way, or about to be */
    RUN_CONTROL_CLOSED,    /* the program is to stop */
    RUN_CONTROL_UNWATCHED, /* the service's admin port is not what it should be */
    RUN_CONTROL_TROUBLE,   /* no disk, memory or threads */
    RUN_CONTROL_OVER,      /* this run is not under way */
    RUN_CONTROL_FIXED,     /* it is one whose load cannot be changed: a closed loop */
    RUN_CONTROL_WRONG      /* the caller asked for what cannot be */
};

/* Claims the one place for a run, to be started or released. BUSY writes the running one's id to
 * `running` ("" while it is being started). */
enum run_control_outcome run_control_reserve(struct run_control *control, char running[RUN_ID_SIZE])
    __attribute__((warn_unused_result));
void run_control_release(struct run_control *control);

/* Starts the run in the place claimed; `asked` (borrowed) is kept with it. On anything but OK the
 * place is free again and `why` has the reason. */
enum run_control_outcome run_control_start(struct run_control *control,
                                           const struct test_plan *plan, json_t *asked,
                                           char id[RUN_ID_SIZE], char *why, size_t why_size);

/* Asks the run to stop and waits until it is in the store. BUSY: it was not by deadline_ns
 * (monotonic). */
enum run_control_outcome run_control_stop(struct run_control *control, const char *id,
                                          int64_t deadline_ns);

/* Changes the load of the run from a moment on; *made is the new segment. On anything but OK
 * nothing has changed; with WRONG and OVER `why` has the reason. */
enum run_control_outcome run_control_change(struct run_control *control, const char *id,
                                            const struct load_change *change,
                                            struct load_segment *made, char *why, size_t why_size);

/* Waits until the run has reported more than `seen` times, or until deadline_ns; copies the latest
 * figures. OVER when it is not, or no longer, under way. */
enum run_control_outcome run_control_snapshot(struct run_control *control, const char *id,
                                              uint64_t seen, int64_t deadline_ns,
                                              struct run_live *live);

/* Copies the rows from..; none where there are no more. OVER as above. TROUBLE without memory. */
enum run_control_outcome run_control_seconds(struct run_control *control, const char *id,
                                             unsigned from, struct run_seconds *seconds);

void run_control_totals(struct run_control *control, struct run_totals *totals);

/* Takes no further run, asks the one under way to stop for `reason` (as in stop.h) and waits until
 * it is in the store. False when it was not by deadline_ns. */
bool run_control_close(struct run_control *control, int reason, int64_t deadline_ns);

#endif
