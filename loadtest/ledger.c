#include "loadtest/ledger.h"

#include "common/check.h"

#include <inttypes.h>

static const struct {
    const char *key;
    const char *label;
} names[OUTCOME_COUNT] = {
    [OUTCOME_OK] = {"ok", "ok"},
    [OUTCOME_WRONG] = {"wrong", "wrong map in a 200"},
    [OUTCOME_HTTP_ERROR] = {"http_error", "HTTP error"},
    [OUTCOME_PROTOCOL_ERROR] = {"protocol_error", "protocol error"},
    [OUTCOME_TIMEOUT] = {"timeout", "timeout"},
    [OUTCOME_CONNECT_ERROR] = {"connect_error", "refused (no connection)"},
    [OUTCOME_RESET] = {"reset", "reset (cut off)"},
    [OUTCOME_IN_FLIGHT_AT_END] = {"in_flight_at_end", "in flight at the end"},
    [OUTCOME_DROPPED] = {"dropped", "dropped (in-flight cap)"},
};

const char *ledger_outcome_key(enum outcome outcome)
{
    assert(outcome < OUTCOME_COUNT);
    return names[outcome].key;
}

const char *ledger_outcome_label(enum outcome outcome)
{
    assert(outcome < OUTCOME_COUNT);
    return names[outcome].label;
}

void ledger_merge(struct ledger *into, const struct ledger *from)
{
    into->scheduled += from->scheduled;
    into->sent += from->sent;
    into->attempts += from->attempts;
    into->retries += from->retries;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        into->outcomes[i] += from->outcomes[i];
}

static uint64_t outcome_sum(const struct ledger *ledger)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        sum += ledger->outcomes[i];
    return sum;
}

uint64_t ledger_answered(const struct ledger *ledger)
{
    return ledger->outcomes[OUTCOME_OK] + ledger->outcomes[OUTCOME_WRONG] +
           ledger->outcomes[OUTCOME_HTTP_ERROR];
}

static bool same(uint64_t left, uint64_t right, const char *what, char *why, size_t why_size)
{
    if (left != right)
        snprintf(why, why_size, "%s: %" PRIu64 " is not %" PRIu64, what, left, right);
    return left == right;
}

bool ledger_balances(const struct ledger *ledger, uint64_t latencies, uint64_t explained, char *why,
                     size_t why_size)
{
    uint64_t dropped = ledger->outcomes[OUTCOME_DROPPED];
    uint64_t failed =
        ledger->sent - ledger->outcomes[OUTCOME_OK] - ledger->outcomes[OUTCOME_IN_FLIGHT_AT_END];
    return same(ledger->scheduled, ledger->sent + dropped, "scheduled = sent + dropped", why,
                why_size) &&
           same(ledger->sent, outcome_sum(ledger) - dropped, "sent = sum of its outcomes", why,
                why_size) &&
           same(ledger->attempts, ledger->sent + ledger->retries, "attempts = sent + retries", why,
                why_size) &&
           same(latencies, ledger->scheduled, "latencies recorded = requests scheduled", why,
                why_size) &&
           same(explained, failed, "errors explained = requests that failed", why, why_size);
}
