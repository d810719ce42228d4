/*
 * One drill under way: the engine's own state. Only files of this folder include it.
 */
#ifndef FLASHOVER_DRILL_ENGINE_DRILL_H
#define FLASHOVER_DRILL_ENGINE_DRILL_H

#include "drill/account/alert.h"
#include "drill/account/recovery.h"
#include "drill/engine/engine.h"
#include "drill/engine/lab.h"
#include "drill/engine/plan.h"
#include "drill/engine/session.h"
#include "drill/record/record.h"

#include <pthread.h>
#include <stdatomic.h>

#define DRILL_VERSIONS 64
#define DRILL_CHANGES  200
#define DRILL_SESSIONS 16

/* A version that is or was in force. */
struct version {
    unsigned number;
    const char *summary; /* a constant, or the scenario's */
    double at_s;         /* deployed */
    json_t *toggles;     /* all of them, by name; owned */
    bool is_guilty;      /* has the defect's version in it, repaired or not */
    bool is_repaired;    /* a code change that repairs is in it */
};

enum change_state { CHANGE_UNDER_WAY, CHANGE_DONE, CHANGE_FAILED };

/* What people expect of a change, and what came of it. */
struct expectation {
    int figure; /* index of expectation_figures[] */
    bool falls; /* else rises: below or above `to` */
    double to;
    double within_s; /* after the change is in force */
    double outcome;  /* the figure then; NAN: not yet */
    bool met;
};

struct made_change {
    enum change change;
    unsigned argument; /* ROLLBACK: the version; END_SESSION, CANCEL_QUERY: the process id */
    enum change_state state;
    bool applied;                    /* all but the restart is done */
    double decided_s, due_s, done_s; /* after the load's start; done_s: NAN until then */
    struct expectation expectation;
    char why[LAB_WHY_SIZE]; /* FAILED */
};

struct drill {
    char id[40];
    const struct scenario *scenario;
    struct plan plan;
    unsigned level;
    double lead_times, healthy_s; /* as asked for */
    enum drill_state state;
    int64_t began_ns;         /* the load's start */
    double t_s[DRILL_TIMES];  /* after the load's start; NAN: not yet */
    struct account_row *rows; /* ACCOUNT_SECONDS_MAX */
    unsigned row_count;       /* of seconds that have begun */
    unsigned recorded;        /* rows that the record has */
    unsigned first_row;       /* of the present load */
    char run_id[LAB_ID_SIZE]; /* and its run */
    struct alert alert;       /* the last look */
    struct version versions[DRILL_VERSIONS];
    unsigned version_count, version; /* the last is the newest; `version` is in force */
    unsigned next_deployment;        /* of the plan */
    struct made_change changes[DRILL_CHANGES];
    unsigned change_count;
    int deployment;                       /* the change under way that is a deployment; -1: none */
    double restarted_s;                   /* when it was told to */
    double before_unix_s, started_unix_s; /* the lab's, for the snapshot */
    bool restarting;                      /* the service has been asked to, and is not ready yet */
    double share_percent;
    bool load_pending; /* a load that was begun anew has not been told yet */
    json_t *load; /* what was changed of the house's load, as PATCH /v1/runs/ID has it; owned */
    double deployment_shadow_until_s, trigger_shadow_until_s;
    bool trigger_began;                  /* in the present second */
    double next_trigger_s, trigger_at_s; /* the next one's start, and the last one's */
    double last_turn_s;
    unsigned triggers;
    struct session *sessions[DRILL_SESSIONS];
    bool load_repaired; /* a change of the callers that repairs is in force */
    bool database_repaired;
    unsigned claim_counts[CLAIM_ASKED];
    bool hints[SCENARIO_HINTS];
    double role_limit;
    json_t *timeline; /* entries as people see them; owned */
    json_t *snapshot; /* the record's last one; owned, NULL: none yet */
    struct record *record;
    char trouble[LAB_WHY_SIZE]; /* what the drill waits for; "": nothing */
};

/* Lock key: (i) immutable, (t) the engine's thread's own, (m) under `lock`. The thread holds the
 * lock except while it waits for the lab or for its next turn. */
struct engine {
    struct engine_config config; /* (i) */
    struct lab lab;              /* (t) */
    int64_t reload_at_ns;        /* (t) when a lost load may be begun anew */
    pthread_t thread;            /* (i) */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;       /* (m) */
    bool busy;           /* (m) the thread has not yet cleared away after the drill */
    struct drill *drill; /* (m) the present one, or the last; NULL: none yet */
};

/* The settings that this drill begins with. */
static inline const struct house *drill_house(const struct drill *drill)
{
    return &drill->scenario->drill.house;
}

/* The engine's thread gives the lock back while the lab works, and takes it again. */
void engine_unlock(struct engine *engine);
void engine_lock(struct engine *engine);

/* An empty drill, and its end; NULL without memory, and nothing happens for NULL. */
struct drill *drill_new(void) __attribute__((warn_unused_result));
void drill_free(struct drill *drill);

/* Seconds since the load's start. */
double drill_now_s(const struct drill *drill);

/* A line of the timeline and of the record. `who`: "people", "lab", "drill". `kind` is the
 * record's. `sealed`: people do not see it before the end. `fields` is stolen; may be NULL. */
void drill_note(struct drill *drill, const char *who, const char *kind, const char *text,
                json_t *fields, bool sealed);

/* Starts a session of the database for a step of SQL, which outlives it; a note says so where it
 * cannot. Ends those of a role; NULL: all. */
void drill_start_session(struct drill *drill, const char *conninfo, const struct step *step);
void drill_end_sessions(struct drill *drill, const char *role);

/* Puts a set of toggles in force as a new version; takes `version.toggles` over. False: the lab's
 * `why`. */
bool drill_deploy(struct engine *engine, struct drill *drill, struct version version)
    __attribute__((warn_unused_result));

/* Changes the load, which a load that is begun anew then has, too. `change` is stolen. */
bool drill_change_load(struct engine *engine, struct drill *drill, json_t *change)
    __attribute__((warn_unused_result));

#endif
