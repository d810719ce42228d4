/*
 * The ledger: every scheduled request ends in exactly one outcome, and the sums must agree. What
 * a run reports is only believed when its ledger balances.
 */
#ifndef FLASHOVER_LOADTEST_BOOKS_LEDGER_H
#define FLASHOVER_LOADTEST_BOOKS_LEDGER_H

#include "loadtest/books/outcome.tbl.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whose doing an outcome is. */
enum outcome_class {
    OUTCOME_CLASS_RIGHT,
    OUTCOME_CLASS_WRONG,      /* an answer that looks right and is not */
    OUTCOME_CLASS_SERVICE,    /* an error by the service */
    OUTCOME_CLASS_CONNECTION, /* an error of the connection: another attempt may help */
    OUTCOME_CLASS_UNFINISHED, /* given up by the load tester */
    OUTCOME_CLASS_NOT_SENT    /* never started by the load tester */
};

#define OUTCOME_ENUMERATOR(name, key, label, class, answered, meaning) OUTCOME_##name,
enum outcome { OUTCOME_TABLE(OUTCOME_ENUMERATOR) OUTCOME_COUNT };
#undef OUTCOME_ENUMERATOR

struct ledger {
    uint64_t scheduled; /* arrivals whose time came */
    uint64_t sent;      /* arrivals for which a connection was taken or tried */
    uint64_t attempts;  /* times that a request was sent or tried: `sent`, and the retries */
    uint64_t retries;   /* of those, the second and further ones for the same arrival */
    uint64_t outcomes[OUTCOME_COUNT];
};

/* The outcome's row in outcome.tbl.h: its key in JSON ("connect_error"), its words in the report
 * ("refused (no connection)"), its class, and whether a whole HTTP answer came. */
const char *ledger_outcome_key(enum outcome outcome);
const char *ledger_outcome_label(enum outcome outcome);
enum outcome_class ledger_outcome_class(enum outcome outcome);
bool ledger_outcome_is_answered(enum outcome outcome);

void ledger_merge(struct ledger *into, const struct ledger *from);

/* Requests that were answered, be it by an error. */
uint64_t ledger_answered(const struct ledger *ledger);

/* Requests whose outcome is of this class. */
uint64_t ledger_in_class(const struct ledger *ledger, enum outcome_class class);

/* Whether scheduled = sent + dropped, sent = the sum of the other outcomes and attempts = sent +
 * retries; also `latencies` (recorded) must equal what was scheduled, and `explained` (counts of
 * the error table) what was sent and failed. If not, writes which sum is off to `why`. */
bool ledger_balances(const struct ledger *ledger, uint64_t latencies, uint64_t explained, char *why,
                     size_t why_size);

#endif
