/*
 * A drill second by second: what the load tester's books say of it, what the service said, and what
 * the drill itself did. All figures of a drill can be worked out again from these rows.
 */
#ifndef FLASHOVER_DRILL_ACCOUNT_ROW_H
#define FLASHOVER_DRILL_ACCOUNT_ROW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* As long as the load tester keeps rows: four hours. */
#define ACCOUNT_SECONDS_MAX 14400

struct account_row {
    bool known; /* the load tester has it; else it is a gap, and the load's figures are 0 */
    bool final; /* they change no more: all that was due in it has ended */
    /* of the requests due in this second */
    uint32_t demanded; /* with those that were shed */
    uint32_t due, ended, right, within;
    /* of those that ended in it */
    uint32_t right_ended, bad_ended, slow_ended, probed, probed_wrong;
    uint32_t attempts;
    double lag_ms, p50_ms, p99_ms; /* percentiles of right answers; NAN: none */
    /* the service */
    uint32_t crashes, pool_used, pool_max, waiting, leaked;
    bool up;
    /* the drill */
    double share_percent;   /* of the load, that people left */
    bool trigger_began;     /* one or more in this second */
    bool trigger_shadow;    /* its effect is no fault of the service's present state */
    bool deployment_shadow; /* the same of a restart */
    bool defect_covered;    /* the guilty version or one built on it is in force; where none is
                               guilty: a repair is */
};

/* Which field each column of the load tester's rows goes to. */
struct account_columns {
    int demanded, due, ended, right, within, ok, slow, probed, probed_wrong, attempts, lag, p50,
        p99;
    int outcome_first, outcome_end; /* the outcomes' columns, first to end - 1 */
};

/* Reads the names of the columns. False where one is missing. */
bool account_columns_read(const json_t *columns, struct account_columns *where)
    __attribute__((warn_unused_result));

/* Takes a row of the load tester's over into the load's fields of `row`. False for one that does
 * not fit the columns. */
bool account_row_take(struct account_row *row, const json_t *numbers,
                      const struct account_columns *where) __attribute__((warn_unused_result));

/* Makes the load's fields those of a gap. */
void account_row_forget(struct account_row *row);

/* Of the requests due in the second: those that were sent and not answered right. */
uint32_t account_row_bad(const struct account_row *row);

/* A row as a JSON object for the record, and back. The caller owns the JSON; NULL without memory.
 */
json_t *account_row_json(const struct account_row *row) __attribute__((warn_unused_result));
bool account_row_read(struct account_row *row, const json_t *object)
    __attribute__((warn_unused_result));

#endif
