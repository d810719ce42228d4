#include "loadtest/books/seconds.h"

#include "common/check.h"
#include "common/clock.h"

#include <math.h>
#include <stdlib.h>

#define COUNTERS_A_DOUBLING 4

bool seconds_init(struct seconds *seconds, int64_t span_ns)
{
    int64_t count = span_ns / CLOCK_NS_PER_S + 1;
    seconds->count = count < SECONDS_MAX ? (unsigned)count : SECONDS_MAX;
    seconds->rows = calloc(seconds->count, sizeof *seconds->rows);
    return seconds->rows != NULL;
}

void seconds_destroy(struct seconds *seconds)
{
    free(seconds->rows);
    *seconds = (struct seconds){0};
}

unsigned seconds_begun(const struct seconds *seconds, int64_t at_ns)
{
    int64_t begun = at_ns < 0 ? 0 : at_ns / CLOCK_NS_PER_S + 1;
    return begun < seconds->count ? (unsigned)begun : seconds->count;
}

struct second_row *seconds_at(const struct seconds *seconds, int64_t at_ns)
{
    int64_t second = at_ns < 0 ? 0 : at_ns / CLOCK_NS_PER_S;
    return second < seconds->count ? &seconds->rows[second] : NULL;
}

void seconds_demand(struct seconds *seconds, int64_t due_ns)
{
    struct second_row *row = seconds_at(seconds, due_ns);
    if (row)
        row->demanded++;
}

void seconds_take_up(struct seconds *seconds, int64_t due_ns, int64_t at_ns)
{
    struct second_row *due = seconds_at(seconds, due_ns);
    struct second_row *at = seconds_at(seconds, at_ns);
    int64_t lag_us = (at_ns - due_ns) / CLOCK_NS_PER_US;
    if (due)
        due->due++;
    if (at && lag_us > at->lag_max_us)
        at->lag_max_us = lag_us < UINT32_MAX ? (uint32_t)lag_us : UINT32_MAX;
}

void seconds_attempt(struct seconds *seconds, int64_t at_ns)
{
    struct second_row *row = seconds_at(seconds, at_ns);
    if (row)
        row->attempts++;
}

static unsigned counter_of(int64_t waited_ns)
{
    double ms = (double)waited_ns / 1e6;
    int counter = ms <= 1 ? 0 : (int)ceil(log2(ms) * COUNTERS_A_DOUBLING);
    return counter < SECONDS_LATENCIES ? (unsigned)counter : SECONDS_LATENCIES - 1;
}

static void count_due(struct second_row *row, const struct second_end *end, bool is_right)
{
    row->ended++;
    row->right += is_right;
    row->within += is_right && end->waited_ns <= SECONDS_WITHIN_NS;
}

static void count_end(struct second_row *row, const struct second_end *end, bool is_right)
{
    uint16_t *counter = &row->latencies[counter_of(end->waited_ns)];
    row->outcomes[end->outcome]++;
    row->slow += is_right && end->waited_ns > SECONDS_WITHIN_NS;
    row->probed += end->is_probe;
    row->probed_wrong += end->is_probe && ledger_outcome_class(end->outcome) == OUTCOME_CLASS_WRONG;
    *counter = (uint16_t)(*counter + (*counter < UINT16_MAX));
}

void seconds_end(struct seconds *seconds, const struct second_end *end)
{
    struct second_row *due = seconds_at(seconds, end->due_ns);
    struct second_row *at = seconds_at(seconds, end->at_ns);
    bool is_right = ledger_outcome_class(end->outcome) == OUTCOME_CLASS_RIGHT;
    assert(end->outcome < OUTCOME_COUNT);
    if (due)
        count_due(due, end, is_right);
    if (at)
        count_end(at, end, is_right);
}

static void add_row(struct second_row *into, const struct second_row *from)
{
    into->demanded += from->demanded;
    into->due += from->due;
    into->ended += from->ended;
    into->right += from->right;
    into->within += from->within;
    into->slow += from->slow;
    into->probed += from->probed;
    into->probed_wrong += from->probed_wrong;
    into->attempts += from->attempts;
    if (from->lag_max_us > into->lag_max_us)
        into->lag_max_us = from->lag_max_us;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        into->outcomes[i] += from->outcomes[i];
    for (size_t i = 0; i < SECONDS_LATENCIES; i++) {
        unsigned sum = (unsigned)into->latencies[i] + from->latencies[i];
        into->latencies[i] = (uint16_t)(sum < UINT16_MAX ? sum : UINT16_MAX);
    }
}

void seconds_clear(struct seconds *seconds, unsigned first, unsigned to)
{
    assert(first <= to && to <= seconds->count);
    memset(&seconds->rows[first], 0, (to - first) * sizeof seconds->rows[0]);
}

void seconds_add(struct seconds *into, const struct seconds *from, unsigned first, unsigned to)
{
    assert(into->count == from->count && to <= into->count);
    for (unsigned i = first; i < to; i++)
        add_row(&into->rows[i], &from->rows[i]);
}

double second_percentile_ms(const struct second_row *row, double percent)
{
    uint64_t count = 0;
    uint64_t seen = 0;
    for (size_t i = 0; i < SECONDS_LATENCIES; i++)
        count += row->latencies[i];
    if (count == 0)
        return (double)NAN;
    double rank = fmax(1, ceil((double)count * percent / 100));
    size_t at = 0;
    while (at + 1 < SECONDS_LATENCIES && (double)(seen += row->latencies[at]) < rank)
        at++;
    return at == 0 ? 1 : exp2(((double)at - 0.5) / COUNTERS_A_DOUBLING);
}
