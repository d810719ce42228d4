#include "loadtest/selftest/selftest.h"

#include "common/check.h"
#include "common/clock.h"
#include "loadtest/selftest/scenes.h"

/* A server or a load tester that was kept waiting for longer may be the cause of a wrong figure:
 * the tolerance of the latencies leaves this much for the machine. */
#define DISTURBED_NS (5 * CLOCK_NS_PER_MS)

static const struct selftest_case cases[] = {
    {"T1", "a stall of 1 s within 10 s, at 100/s; beside it what a closed loop says", 21, false,
     selftest_t1, &selftest_scene_stall, false},
    {"T2", "a stall of 1 s that drains at 100/s, while 50/s come in", 11, false, selftest_t2,
     &selftest_scene_drain, false},
    {"T3", "overload: 150/s for 20 s to a server that can do 100/s", 31, false, selftest_t3,
     &selftest_scene_overload, false},
    {"T4", "a black hole: one request in a hundred is never answered", 8, true, selftest_t4,
     &selftest_scene_hole, false},
    {"T5", "the load tester itself stands still for half a second", 5, true, selftest_t5,
     &selftest_scene_steady, false},
    {"T6", "arrivals: 500/s at random and evenly spaced, to one slot of 1 ms on average", 42, false,
     selftest_t6, &selftest_scene_queue, false},
    {"T7", "every request in exactly one place, by both sides' books", 9, true, selftest_t7,
     &selftest_scene_mixed, false},
    {"T8", "the histograms of several threads add up to that of all samples", 6, true, selftest_t8,
     &selftest_scene_spread, true},
    {"T9", "wrong maps: so many entries in so many answers", 3, true, selftest_t9,
     &selftest_scene_corrupt, true},
};

const struct selftest_case *selftest_cases(size_t *count)
{
    *count = sizeof cases / sizeof cases[0];
    return cases;
}

const struct selftest_case *selftest_find(const char *name)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (strcmp(cases[i].name, name) == 0)
            return &cases[i];
    return NULL;
}

/* Whether the attempt says nothing about the load tester; why, to `why`. */
static bool says_nothing(const struct selftest_case *test, const struct selftest_table *table,
                         char why[SELFTEST_WHY])
{
    if (*table->invalid) {
        snprintf(why, SELFTEST_WHY, "INVALID: %.240s", table->invalid);
        return true;
    }
    if (selftest_holds(table) || test->counts_only || table->disturbed_ns <= DISTURBED_NS)
        return false;
    snprintf(
        why, SELFTEST_WHY,
        "A figure was off, and the machine kept the server or the load tester waiting for %.0f "
        "ms.",
        (double)table->disturbed_ns / (double)CLOCK_NS_PER_MS);
    return true;
}

void selftest_attempt(const struct selftest_case *test, int64_t deadline_ns,
                      const struct stop *stop, struct selftest_outcome *outcome)
{
    *outcome = (struct selftest_outcome){.test = test};
    for (;;) {
        char *why = outcome->repeated[outcome->attempts++];
        outcome->table = (struct selftest_table){0};
        test->run(&outcome->table, stop);
        bool counts = !says_nothing(test, &outcome->table, why);
        outcome->ok = counts && selftest_holds(&outcome->table);
        int64_t done_ns = clock_now_ns() + (int64_t)(test->seconds * (double)CLOCK_NS_PER_S);
        if (counts || outcome->attempts == SELFTEST_ATTEMPTS || done_ns > deadline_ns ||
            stop_requested(stop))
            return;
    }
}
