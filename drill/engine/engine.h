/*
 * The engine runs one drill at a time: it makes the lab healthy, sets the fault off, pages, carries
 * out people's changes, and finds when the users were well again. See docs/drills.md for the words.
 */
#ifndef FLASHOVER_DRILL_ENGINE_ENGINE_H
#define FLASHOVER_DRILL_ENGINE_ENGINE_H

#include "drill/catalogue/catalogue.h"
#include "drill/engine/lab.h"

struct engine;

enum drill_state {
    DRILL_PREPARING, /* the house is set up */
    DRILL_HEALTHY,
    DRILL_BURNING,
    DRILL_OVER,
    DRILL_STATES
};

/* T0 to T4 and the end: indices of a drill's times. */
enum drill_time { DRILL_T0, DRILL_T1, DRILL_T2, DRILL_T3, DRILL_T4, DRILL_END, DRILL_TIMES };

struct engine_config {
    struct lab_config lab;
    const struct catalogue *catalogue;
    const char *drills_dir;
    double pace; /* multiplies people's times; 1 */
};

/* How a request of people or the facilitator ended: an HTTP status. */
enum engine_answer { ENGINE_DONE = 200, ENGINE_MISTAKE = 400, ENGINE_NOT_NOW = 409 };

/* `config` is copied, what it points to is not. NULL: `why`. */
struct engine *engine_open(const struct engine_config *config, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* Ends the drill under way, and the thread. `all_done`: no request uses the engine any more, and it
 * is freed. */
void engine_close(struct engine *engine, bool all_done);

/* What the facilitator asks for. */
struct engine_request {
    const char *name; /* of a scenario; NULL: the seed draws one */
    uint64_t seed;
    unsigned level;
    double lead_times; /* multiplies the changes' lead times; 1 */
    double healthy_s;  /* how long all is well; 0: as the seed has it */
};

/* Starts a drill. */
enum engine_answer engine_start(struct engine *engine, const struct engine_request *request,
                                char *why, size_t why_size);

/* Ends the drill: "exercise stop". */
enum engine_answer engine_stop(struct engine *engine, const char *by, char *why, size_t why_size);

/* What people enter, as POST /v1/drill/NAME has it: entries, changes, claims, hints. */
enum engine_answer engine_entry(struct engine *engine, const json_t *body, char *why,
                                size_t why_size);
enum engine_answer engine_change(struct engine *engine, const json_t *body, char *why,
                                 size_t why_size);
enum engine_answer engine_claim(struct engine *engine, const json_t *body, char *why,
                                size_t why_size);
enum engine_answer engine_hint(struct engine *engine, const json_t *body, char *why,
                               size_t why_size);

/* The drill as people see it, or with the truth. The caller owns it; NULL without memory. */
json_t *engine_view(struct engine *engine, bool truth) __attribute__((warn_unused_result));

/* The folder of the present drill's record, and its scenario; NULL: there is no drill. */
const struct scenario *engine_record(struct engine *engine, char *folder, size_t size);

/* Rows from second `from` on, as people see them. */
json_t *engine_rows(struct engine *engine, unsigned from) __attribute__((warn_unused_result));

#endif
