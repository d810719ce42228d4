/*
 * The ledger: every scheduled request ends in exactly one outcome, and the sums must agree. What
 * a run reports is only believed when its ledger balances.
 */
#ifndef FLASHOVER_LOADTEST_LEDGER_H
#define FLASHOVER_LOADTEST_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum outcome {
    OUTCOME_OK,               /* the right status and, with --check feed, the right body */
    OUTCOME_WRONG,            /* 200, but the body breaks the data rule */
    OUTCOME_HTTP_ERROR,       /* a whole answer with another status */
    OUTCOME_PROTOCOL_ERROR,   /* what came back is no HTTP */
    OUTCOME_TIMEOUT,          /* no whole answer until intended start + timeout */
    OUTCOME_CONNECT_ERROR,    /* no connection: refused, unreachable, out of descriptors */
    OUTCOME_RESET,            /* the connection ended before the whole answer was there */
    OUTCOME_IN_FLIGHT_AT_END, /* given up because the run was stopped */
    OUTCOME_DROPPED,          /* never started: --max-in-flight was reached */
    OUTCOME_COUNT
};

struct ledger {
    uint64_t scheduled; /* arrivals whose time came */
    uint64_t sent;      /* arrivals for which a connection was taken or tried */
    uint64_t attempts;  /* times that a request was sent or tried: `sent`, and the retries */
    uint64_t retries;   /* of those, the second and further ones for the same arrival */
    uint64_t outcomes[OUTCOME_COUNT];
};

/* The key in JSON ("connect_error") and the words in the report ("refused, no connection"). */
const char *ledger_outcome_key(enum outcome outcome);
const char *ledger_outcome_label(enum outcome outcome);

void ledger_merge(struct ledger *into, const struct ledger *from);

/* Requests that were answered, be it by an error. */
uint64_t ledger_answered(const struct ledger *ledger);

/* Whether scheduled = sent + dropped, sent = the sum of the other outcomes and attempts = sent +
 * retries; also `latencies` (recorded) must equal what was scheduled, and `explained` (counts of
 * the error table) what was sent and failed. If not, writes which sum is off to `why`. */
bool ledger_balances(const struct ledger *ledger, uint64_t latencies, uint64_t explained, char *why,
                     size_t why_size);

#endif
