#include "loadtest/capacity/trial.h"

#include "common/check.h"
#include "common/clock.h"
#include "loadtest/judge/generator_check.h"
#include "loadtest/judge/verdict.h"

#include <math.h>

#define RECOVERED_MS 200
#define PILE_S       0.1

static void keep_first(void *argument, const char *sentence)
{
    char *reason = argument;
    if (!reason[0])
        snprintf(reason, CAPACITY_REASON_SIZE, "invalid: %.140s", sentence);
}

/* Requests under way at the end of each slot, averaged over the slots from..to-1. */
static double mean_in_flight(const struct timeline *timeline, unsigned from, unsigned to)
{
    double under_way = 0;
    double sum = 0;
    for (unsigned i = 0; i < to; i++) {
        const struct timeline_slot *slot = &timeline->slots[i];
        under_way += slot->scheduled;
        for (size_t j = 0; j < OUTCOME_COUNT; j++)
            under_way -= slot->outcomes[j];
        if (i >= from)
            sum += under_way;
    }
    return to > from ? sum / (to - from) : 0;
}

/* Whether the last quarter of the trial had clearly more requests under way than the second: more
 * than come in PILE_S, and more than one. */
static bool piles_up(const struct timeline *timeline, unsigned slots, double rate_per_s)
{
    double early = mean_in_flight(timeline, slots / 4, slots / 2);
    double late = mean_in_flight(timeline, slots * 3 / 4, slots);
    return slots >= 8 && late - early > PILE_S * rate_per_s + 1;
}

static uint64_t right_answers(const struct timeline *timeline, unsigned from, unsigned to)
{
    uint64_t right = 0;
    for (unsigned i = from; i < to; i++)
        right += timeline->slots[i].outcomes[OUTCOME_OK];
    return right;
}

/* Why the trial does not pass; leaves trial->reason empty when it does. */
static void judge(struct capacity_trial *trial, const struct test_plan *plan,
                  const struct load_result *result, unsigned slots)
{
    const struct load_stats *stats = result->stats;
    char measured[96];
    if (!result->balanced)
        snprintf(trial->reason, sizeof trial->reason, "the books do not balance");
    else if (trial->crashes > 0)
        snprintf(trial->reason, sizeof trial->reason, "the service crashed %u time%s",
                 trial->crashes, trial->crashes == 1 ? "" : "s");
    for (size_t i = 0; !trial->reason[0] && i < plan->slos.count; i++)
        if (!slo_holds(&plan->slos.items[i], stats, measured, sizeof measured))
            snprintf(trial->reason, sizeof trial->reason, "%s: %s", plan->slos.items[i].text,
                     measured);
    if (!trial->reason[0] && !verdict_passed(stats, &plan->slos))
        snprintf(trial->reason, sizeof trial->reason, "no right answers, or wrong ones");
    /* The last answers come a response time later than they were asked for. */
    double kept_s = (double)result->elapsed_ns / (double)CLOCK_NS_PER_S - trial->p50_ms / 1e3;
    double achieved = (double)trial->ok / fmax(kept_s, trial->duration_s);
    if (trial->phase == CAPACITY_OVERLOAD) /* what is behind it is the recovery */
        achieved = trial->goodput_per_s;
    if (!trial->reason[0] && achieved < CAPACITY_KEEPS_UP * trial->rate_per_s)
        snprintf(trial->reason, sizeof trial->reason, "answered %.4g of %.4g req/s", achieved,
                 trial->rate_per_s);
    if (!trial->reason[0] && piles_up(&stats->timeline, slots, trial->rate_per_s))
        snprintf(trial->reason, sizeof trial->reason, "requests pile up");
    /* A late load tester makes response times longer, never shorter: a trial that passed in spite
     * of it has passed. */
    char doubt[CAPACITY_REASON_SIZE] = "";
    if (trial->reason[0] && trial->crashes == 0 && !generator_check(stats, keep_first, doubt)) {
        trial->invalid = true;
        memcpy(trial->reason, doubt, sizeof trial->reason);
    }
}

static double good_within_ms(const struct slo_list *slos)
{
    double largest_ms = 0;
    for (size_t i = 0; i < slos->count; i++)
        if (slos->items[i].metric == SLO_PERCENTILE)
            largest_ms = fmax(largest_ms, slos->items[i].bound);
    return largest_ms > 0 ? largest_ms : RECOVERED_MS;
}

static bool is_good(const struct timeline_slot *slot, double within_ms)
{
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        if (i != OUTCOME_OK && slot->outcomes[i] > 0)
            return false;
    /* a counter's upper edge is up to 3 % above its values */
    return slot->response.count == 0 ||
           (double)coarse_histogram_percentile_us(&slot->response, 100) <= 1.03e3 * within_ms;
}

/* Recovered is when the last slot with a bad end is over. */
static void measure_recovery(struct capacity_trial *trial, const struct test_plan *plan,
                             const struct load_result *result, unsigned slots)
{
    const struct timeline *timeline = &result->stats->timeline;
    unsigned end = timeline_slot_at(timeline, result->elapsed_ns) + 1;
    if (end < slots) /* stopped before */
        end = slots;
    unsigned bad = end;
    while (bad > slots && is_good(&timeline->slots[bad - 1], good_within_ms(&plan->slos)))
        bad--;
    trial->recovery_s = (double)(bad - slots) * (double)timeline->slot_ns / (double)CLOCK_NS_PER_S;
    trial->recovery_is_at_least = bad == end && end > slots;
}

void capacity_trial_take(struct capacity_trial *trial, const struct test_plan *plan,
                         const struct load_result *result)
{
    const struct load_stats *stats = result->stats;
    const struct scrape_result *service = &result->service;
    const struct timeline *timeline = &stats->timeline;
    trial->duration_s = plan->load.schedule.stages[0].duration_s;
    unsigned slots =
        (unsigned)lround(trial->duration_s * (double)CLOCK_NS_PER_S / (double)timeline->slot_ns);
    assert(slots <= timeline->slot_count);
    trial->scheduled = stats->ledger.scheduled;
    trial->ok = stats->ledger.outcomes[OUTCOME_OK];
    trial->p50_ms = (double)histogram_percentile_us(&stats->response_all, 50) / 1e3;
    trial->p99_ms = (double)histogram_percentile_us(&stats->response_all, 99) / 1e3;
    trial->p99_is_at_least = load_stats_is_censored(stats, 99);
    trial->crashes = result->has_service ? service->restarts + service->down_at_end : 0;
    trial->hold_s = scrape_mean_use_s(service);
    trial->uses_per_request = result->has_service && trial->scheduled > 0
                                  ? service->use_time_count / (double)trial->scheduled
                                  : (double)NAN;
    /* The first quarter is the way there. */
    unsigned from = slots / 4;
    trial->goodput_per_s = slots > from ? (double)right_answers(timeline, from, slots) *
                                              (double)CLOCK_NS_PER_S /
                                              ((double)(slots - from) * (double)timeline->slot_ns)
                                        : (double)NAN;
    trial->reason[0] = '\0';
    judge(trial, plan, result, slots);
    trial->passed = !trial->reason[0];
    assert(!(trial->passed && trial->invalid));
    if (plan->load.schedule.stage_count > 1)
        measure_recovery(trial, plan, result, slots);
}
