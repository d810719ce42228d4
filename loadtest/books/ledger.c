#include "loadtest/books/ledger.h"

#include "common/check.h"

#include <inttypes.h>

static const struct row {
    const char *key;
    const char *label;
    enum outcome_class class;
    bool answered;
} rows[] = {
#define OUTCOME_ROW(name, key, label, class, answered, meaning)                                    \
    [OUTCOME_##name] = {key, label, OUTCOME_CLASS_##class, answered},
    OUTCOME_TABLE(OUTCOME_ROW)
#undef OUTCOME_ROW
};

static const struct row *row_of(enum outcome outcome)
{
    assert(outcome < OUTCOME_COUNT);
    return &rows[outcome];
}

const char *ledger_outcome_key(enum outcome outcome)
{
    return row_of(outcome)->key;
}

const char *ledger_outcome_label(enum outcome outcome)
{
    return row_of(outcome)->label;
}

enum outcome_class ledger_outcome_class(enum outcome outcome)
{
    return row_of(outcome)->class;
}

bool ledger_outcome_is_answered(enum outcome outcome)
{
    return row_of(outcome)->answered;
}

void ledger_merge(struct ledger *into, const struct ledger *from)
{
    assert(into != from);
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
    uint64_t answered = 0;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        if (rows[i].answered)
            answered += ledger->outcomes[i];
    return answered;
}

uint64_t ledger_in_class(const struct ledger *ledger, enum outcome_class class)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        if (rows[i].class == class)
            sum += ledger->outcomes[i];
    return sum;
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
    uint64_t dropped = ledger_in_class(ledger, OUTCOME_CLASS_NOT_SENT);
    uint64_t failed = ledger_in_class(ledger, OUTCOME_CLASS_WRONG) +
                      ledger_in_class(ledger, OUTCOME_CLASS_SERVICE) +
                      ledger_in_class(ledger, OUTCOME_CLASS_CONNECTION);
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
