#include "loadtest/books/recent.h"

#include "common/check.h"
#include "common/clock.h"

static_assert(RECENT_WINDOW < RECENT_SLOTS, "the present slot has a place beside the window");

static int64_t number_at(int64_t at_ns)
{
    return 1 + (at_ns < 0 ? 0 : at_ns / (RECENT_SLOT_MS * CLOCK_NS_PER_MS));
}

struct recent_slot *recent_slot_at(struct recent *recent, int64_t at_ns)
{
    int64_t number = number_at(at_ns);
    struct recent_slot *slot = &recent->slots[number % RECENT_SLOTS];
    if (slot->number > number)
        return NULL;
    if (slot->number < number)
        *slot = (struct recent_slot){.number = number};
    return slot;
}

void recent_add(const struct recent *recent, int64_t at_ns, struct recent_figures *into)
{
    int64_t present = number_at(at_ns);
    int64_t first = present > RECENT_WINDOW ? present - RECENT_WINDOW : 1;
    for (int64_t number = first; number < present; number++) {
        const struct recent_slot *slot = &recent->slots[number % RECENT_SLOTS];
        if (slot->number != number)
            continue; /* nothing happened in it */
        into->scheduled += slot->scheduled;
        for (size_t i = 0; i < OUTCOME_COUNT; i++)
            into->outcomes[i] += slot->outcomes[i];
        coarse_histogram_merge(&into->response, &slot->response);
        if (slot->censored_from_ns > 0 &&
            (into->censored_from_ns == 0 || slot->censored_from_ns < into->censored_from_ns))
            into->censored_from_ns = slot->censored_from_ns;
    }
    into->window_s = (double)((present - first) * RECENT_SLOT_MS) / 1000;
}

bool recent_is_at_least(const struct recent_figures *figures, double percent)
{
    int64_t value_us = coarse_histogram_percentile_us(&figures->response, percent);
    return figures->censored_from_ns > 0 && value_us >= figures->censored_from_ns / CLOCK_NS_PER_US;
}
