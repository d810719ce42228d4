#include "loadtest/books/timeline.h"

#include "common/check.h"
#include "common/clock.h"

#include <math.h>

#define SUB_BUCKET_BITS 6
#define HALF_COUNT      32U
#define HIGHEST_US      ((INT64_C(1) << 26) - 1)

static_assert(COARSE_COUNTERS == (26 - SUB_BUCKET_BITS + 2) * 32, "the counters reach 2^26 us");

static int64_t slot_width(int64_t span_ns)
{
    static const double widths_s[] = {0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300};
    size_t i = 0;
    while (i + 1 < sizeof widths_s / sizeof widths_s[0] &&
           (double)span_ns > 600 * widths_s[i] * (double)CLOCK_NS_PER_S)
        i++;
    return (int64_t)(widths_s[i] * (double)CLOCK_NS_PER_S);
}

bool timeline_init(struct timeline *timeline, int64_t span_ns)
{
    assert(span_ns > 0);
    timeline->slot_ns = slot_width(span_ns);
    int64_t count = span_ns / timeline->slot_ns + 1;
    timeline->slot_count = count < TIMELINE_SLOTS_MAX ? (unsigned)count : TIMELINE_SLOTS_MAX;
    size_t size_bytes = timeline->slot_count * sizeof(struct timeline_slot);
    timeline->slots = malloc(size_bytes);
    if (!timeline->slots)
        return false;
    assert(timeline->slot_count > 0);
    memset(timeline->slots, 0, size_bytes); /* touched now, not as the run goes on */
    return true;
}

void timeline_destroy(struct timeline *timeline)
{
    free(timeline->slots);
    timeline->slots = NULL;
}

unsigned timeline_slot_at(const struct timeline *timeline, int64_t at_ns)
{
    int64_t slot = at_ns < 0 ? 0 : at_ns / timeline->slot_ns;
    return slot < timeline->slot_count ? (unsigned)slot : timeline->slot_count - 1;
}

struct timeline_slot *timeline_slot(const struct timeline *timeline, int64_t at_ns)
{
    return &timeline->slots[timeline_slot_at(timeline, at_ns)];
}

void timeline_merge(struct timeline *into, const struct timeline *from)
{
    assert(into->slot_count == from->slot_count && into->slot_ns == from->slot_ns);
    for (unsigned i = 0; i < into->slot_count; i++) {
        struct timeline_slot *to = &into->slots[i];
        const struct timeline_slot *add = &from->slots[i];
        to->scheduled += add->scheduled;
        to->attempts += add->attempts;
        for (size_t j = 0; j < OUTCOME_COUNT; j++)
            to->outcomes[j] += add->outcomes[j];
        coarse_histogram_merge(&to->response, &add->response);
        coarse_histogram_merge(&to->service, &add->service);
    }
}

/* As histogram_index() in common/histogram.c, with fewer counters. */
static size_t coarse_index(int64_t value_us)
{
    uint64_t value = (uint64_t)(value_us < HIGHEST_US ? value_us : HIGHEST_US);
    unsigned top_bit = 63U - (unsigned)__builtin_clzll(value | ((1U << SUB_BUCKET_BITS) - 1));
    unsigned bucket = top_bit - (SUB_BUCKET_BITS - 1);
    return (size_t)bucket * HALF_COUNT + (size_t)(value >> bucket);
}

static int64_t coarse_highest_us(size_t index)
{
    if (index < (size_t)2 * HALF_COUNT)
        return (int64_t)index;
    size_t bucket = index / HALF_COUNT - 1;
    return (int64_t)((index % HALF_COUNT + HALF_COUNT + 1) << bucket) - 1;
}

void coarse_histogram_record_ns(struct coarse_histogram *histogram, int64_t value_ns)
{
    int64_t value_us = value_ns < 0 ? 0 : (value_ns + 500) / 1000;
    size_t index = coarse_index(value_us);
    assert(index < COARSE_COUNTERS);
    histogram->counters[index]++;
    histogram->count++;
}

void coarse_histogram_merge(struct coarse_histogram *into, const struct coarse_histogram *from)
{
    if (from->count == 0)
        return;
    for (size_t i = 0; i < COARSE_COUNTERS; i++)
        into->counters[i] += from->counters[i];
    into->count += from->count;
}

int64_t coarse_histogram_percentile_us(const struct coarse_histogram *histogram, double percent)
{
    double wanted = ceil(percent * histogram->count / 100.0 - 1e-6);
    uint32_t rank = wanted < 1 ? 1 : (uint32_t)wanted;
    uint32_t seen = 0;
    assert(percent >= 0 && percent <= 100);
    for (size_t i = 0; i < COARSE_COUNTERS; i++) {
        seen += histogram->counters[i];
        if (seen >= rank)
            return coarse_highest_us(i);
    }
    return 0;
}
