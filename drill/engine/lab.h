/*
 * The lab as a drill sees and changes it: the service by its admin port, the load by the load
 * tester's REST, the database by the functions of deploy/create-drill.sql. All calls block, each
 * for a few seconds at most, and belong to one thread.
 */
#ifndef FLASHOVER_DRILL_ENGINE_LAB_H
#define FLASHOVER_DRILL_ENGINE_LAB_H

#include "common/client/admin_client.h"
#include "drill/account/row.h"
#include "drill/catalogue/house.h"

#define LAB_WHY_SIZE 512
#define LAB_ID_SIZE  64

struct lab_config {
    const char *public_url; /* of the service, http://HOST:PORT */
    const char *admin_url, *admin_token_file;
    const char *loadtest_url, *loadtest_token_file;
    const char *conninfo; /* role flashover_drill; NULL: libpq's PG* variables */
};

struct lab {
    struct lab_config config;
    struct admin_client *service, *loadtest, *public; /* owned */
    struct text answer;
    char why[LAB_WHY_SIZE]; /* of the last call that returned false */
    char run_id[LAB_ID_SIZE];
    unsigned final_rows;   /* of this run, that change no more */
    bool run_is_gone;      /* the load tester does not run it any more */
    double started_unix_s; /* of the service's process; 0: not known yet */
    double before_unix_s;  /* of the one that was told to restart; 0: none was */
};

/* What the service says of itself. */
struct lab_look {
    bool up;
    uint32_t crashes; /* since the last look: 1 if another process answers than before, and no
                         restart was asked for */
    uint32_t pool_used, pool_max, waiting, leaked;
};

/* `config` is copied, its texts are not. False: `why`. lab_close() in any case. */
bool lab_open(struct lab *lab, const struct lab_config *config) __attribute__((warn_unused_result));
void lab_close(struct lab *lab);

/* `what`: "toggles" or "settings"; {"map":"unsafe"}, {"pool-size":6}. */
bool lab_set(struct lab *lab, const char *what, const json_t *values)
    __attribute__((warn_unused_result));

/* Whether stored settings wait for a restart. */
bool lab_needs_restart(struct lab *lab, bool *needs) __attribute__((warn_unused_result));

/* Asks for a restart. It has begun when this returns. */
bool lab_restart(struct lab *lab) __attribute__((warn_unused_result));

/* Whether /readyz answers 200, by the process after the last restart. */
bool lab_is_ready(struct lab *lab);

void lab_look(struct lab *lab, struct lab_look *look);

/* Starts the house's load for so long; run_id names it. */
bool lab_start_load(struct lab *lab, const struct house *house, double duration_s)
    __attribute__((warn_unused_result));

/* {"items":40}, {"share":50}, {"stages":"120/700ms,20/1s"}: as PATCH /v1/runs/ID has it */
bool lab_change_load(struct lab *lab, const json_t *change) __attribute__((warn_unused_result));

/* Stops the load, and forgets it. */
void lab_stop_load(struct lab *lab);

/* Fetches the rows that may have changed since the last time; the caller's to json_decref. NULL:
 * the load tester or the run is away. lab_take_rows() asks nobody: it takes them over into
 * rows[first_row + their second]. */
json_t *lab_fetch_rows(struct lab *lab) __attribute__((warn_unused_result));
bool lab_take_rows(struct lab *lab, const json_t *answer, struct account_row *rows,
                   unsigned first_row) __attribute__((warn_unused_result));

#endif
