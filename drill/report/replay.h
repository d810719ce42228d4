/*
 * A drill read back from its record: the rows, the times, and what was entered. What is worked out
 * of it needs nothing else.
 */
#ifndef FLASHOVER_DRILL_REPORT_REPLAY_H
#define FLASHOVER_DRILL_REPORT_REPLAY_H

#include "drill/account/row.h"

enum replay_time {
    REPLAY_T0,
    REPLAY_T1,
    REPLAY_T2,
    REPLAY_T3,
    REPLAY_T4,
    REPLAY_END,
    REPLAY_TIMES
};

struct replay {
    struct account_row *rows; /* ACCOUNT_SECONDS_MAX; owned */
    unsigned row_count;
    double t_s[REPLAY_TIMES]; /* after the load's start; NAN: it did not come */
    json_t *start;            /* the line of the drill's start; owned, NULL: none */
    json_t *lines;            /* all lines but rows, in order; owned */
    int passed_over;          /* lines that are none of ours */
};

/* Sums of the seconds from first up to end - 1. */
struct replay_sums {
    double demanded, ended, right, within, shed;
    double bad;           /* demanded and not answered right, those that were shed included */
    unsigned bad_seconds; /* with at least one */
    double p99_max_ms;    /* NAN: no right answer */
    unsigned crashes, gaps;
};

/* Reads `folder`/record.jsonl. False: there is none, or it has no start. replay_close() in any
 * case. */
bool replay_open(struct replay *replay, const char *folder) __attribute__((warn_unused_result));
void replay_close(struct replay *replay);

struct replay_sums replay_sum(const struct replay *replay, unsigned first, unsigned end);

/* A time as a second of the rows, at most their end; `otherwise` where it did not come. */
unsigned replay_second(const struct replay *replay, enum replay_time time, unsigned otherwise);

#endif
