/*
 * A scenario's part for drills: the key `drill` of experiments/scenarios/NAME.yaml. The rest of the
 * file is the proof's (experiments/scenario.py checks it).
 */
#ifndef FLASHOVER_DRILL_CATALOGUE_SCENARIO_H
#define FLASHOVER_DRILL_CATALOGUE_SCENARIO_H

#include "drill/catalogue/change.h"
#include "drill/catalogue/house.h"

#define SCENARIO_TOGGLES    4
#define SCENARIO_STEPS      4
#define SCENARIO_STATEMENTS 6
#define SCENARIO_HINTS      4
#define SCENARIO_LEVELS     4

enum step_kind { STEP_LOAD, STEP_BURST, STEP_SQL };

/* Something that happens to the service from outside. Texts live as long as the scenario. */
struct step {
    enum step_kind kind;
    double after_s; /* the start of the steps */
    /* LOAD: what callers ask for from now on; -1: as before */
    double items, retries;
    /* BURST: requests a second, and for how long */
    double rate, for_s;
    /* SQL: a session of `role` that executes the statements and then does nothing until hold_s
     * after the first; its end rolls back */
    const char *role;
    const char *statements[SCENARIO_STATEMENTS];
    int statement_count;
    double hold_s;
};

struct scenario_drill {
    unsigned level;
    struct house house; /* the one that all share, but for what the scenario says itself */
    bool has_house;     /* it says something: then it is chosen by name, and never drawn */
    /* The version that has the defect: toggles on top of the house's. None: no version is guilty.
     */
    struct {
        const char *name, *value;
    } toggles[SCENARIO_TOGGLES];
    int toggle_count;
    const char *summary; /* its line in the list of deployments; NULL where none is guilty */
    struct step at_fault[SCENARIO_STEPS]; /* once, at T0 */
    int at_fault_count;
    struct step trigger[SCENARIO_STEPS]; /* again and again from T0 on */
    int trigger_count;
    double every_min_s, every_max_s; /* from one trigger's start to the next */
    double
        trigger_lasts_s; /* its own length, where its effect may be longer; -1: that of its steps */
    enum claim claims[CLAIM_ASKED];
    enum change_effect effects[CHANGES];
    const char *hints[SCENARIO_HINTS];
    /* The part of the requests since the page that is bad when nobody does anything, as measured by
     * make drill-matrix; NAN: not measured. */
    double untouched_bad_share;
};

struct scenario {
    char name[64];
    const char *title, *cause; /* as long as the scenario */
    bool has_drill;
    struct scenario_drill drill;
    struct yaml_file file;
};

/* Reads a file. `house`: the one that all drills share. False: file.why says what is wrong.
 * scenario_close() in any case. */
bool scenario_open(struct scenario *scenario, const char *path, const struct house *house)
    __attribute__((warn_unused_result));
void scenario_close(struct scenario *scenario);

#endif
