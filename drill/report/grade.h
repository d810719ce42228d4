/*
 * The grade of a drill, from its record and its scenario: lines with points, a fraction, and the
 * reason. What does not apply leaves the denominator.
 */
#ifndef FLASHOVER_DRILL_REPORT_GRADE_H
#define FLASHOVER_DRILL_REPORT_GRADE_H

#include "drill/catalogue/scenario.h"
#include "drill/report/replay.h"

#define GRADE_LINES    5
#define GRADE_WHY_SIZE 240

enum grade_name { GRADE_SPARED, GRADE_REPAIRED, GRADE_DIAGNOSIS, GRADE_METHOD, GRADE_COMMAND };

struct grade_line {
    const char *name;
    double points;
    double fraction; /* 0..1 */
    bool applies;
    char why[GRADE_WHY_SIZE];
};

struct grade {
    struct grade_line lines[GRADE_LINES];
    double points, of; /* of the lines that apply */
};

/* Without the scenario's untouched_bad_share the line "users spared" does not apply. */
struct grade grade_drill(const struct replay *replay, const struct scenario_drill *scenario);

/* {"points":…,"of":…,"lines":[…]}; the caller owns it. */
json_t *grade_json(const struct grade *grade) __attribute__((warn_unused_result));

#endif
