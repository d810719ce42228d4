/*
 * T3 and T4: since when the users were well again, and since when the cause was gone. See the
 * words' definitions in docs/drills.md.
 */
#ifndef FLASHOVER_DRILL_ACCOUNT_RECOVERY_H
#define FLASHOVER_DRILL_ACCOUNT_RECOVERY_H

#include "drill/account/row.h"

#define RECOVERY_MITIGATED_S 30
#define RECOVERY_REPAIRED_S  60

struct recovery_rules {
    double pace; /* multiplies the windows */
    bool recurs; /* the scenario's trigger comes again and again: a window must span it */
};

/* Why a window is not good; the first reason in this order. */
enum recovery_reason {
    RECOVERY_HOLDS,
    RECOVERY_TOO_SHORT,  /* so far nothing is wrong */
    RECOVERY_NO_TRIGGER, /* nor has the trigger come since */
    RECOVERY_GAP,        /* the load tester has no figures */
    RECOVERY_BAD,        /* a bad request in a counted second */
    RECOVERY_SLOW,
    RECOVERY_LOAD, /* too much of the load is shed */
    RECOVERY_CRASH,
    RECOVERY_LEAK,
    RECOVERY_OLDER, /* an older version than the guilty one is in force */
};

struct recovery {
    enum recovery_reason reason;
    unsigned
        at; /* the window's first second where it holds; else where the reason is, or the end */
};

/* T3: the first of RECOVERY_MITIGATED_S counted seconds, at or after `from`, without a bad request
 * and with 99 % of the right ones in time, at a quarter of the load or more. Rows that are not
 * final end the search. */
struct recovery recovery_mitigated(const struct account_row *rows, unsigned count, unsigned from,
                                   const struct recovery_rules *rules);

/* T4: the first, which is a counted one, of RECOVERY_REPAIRED_S seconds, those in a shadow
 * included, whose counted ones are as for T3, at all of the load, with two triggers where they
 * recur, no crash, no leak, and the defect's version covered throughout. */
struct recovery recovery_repaired(const struct account_row *rows, unsigned count, unsigned from,
                                  const struct recovery_rules *rules);

#endif
