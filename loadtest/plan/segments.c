#include "loadtest/plan/segments.h"

#include "common/check.h"
#include "common/clock.h"
#include "loadtest/plan/schedule_change.h"

#include <math.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool load_segments_init(struct load_segments *segments, const struct load_settings *settings)
{
    struct load_segment *first = malloc(sizeof *first);
    *segments = (struct load_segments){.changed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!first || segments->changed_fd < 0) {
        free(first);
        if (segments->changed_fd >= 0)
            close(segments->changed_fd);
        return false;
    }
    *first = (struct load_segment){.schedule = settings->schedule,
                                   .target = settings->target,
                                   .items = settings->items,
                                   .retries = settings->retries,
                                   .retry_budget_percent = settings->retry_budget_percent,
                                   .share_percent = 100,
                                   .check = settings->check};
    CHECK_PTHREAD(pthread_mutex_init(&segments->lock, NULL));
    segments->list[0] = first;
    segments->workers = settings->threads;
    atomic_store(&segments->count, 1);
    return true;
}

void load_segments_destroy(struct load_segments *segments)
{
    for (unsigned i = 0; i < load_segments_count(segments); i++)
        free(segments->list[i]);
    close(segments->changed_fd);
    CHECK_PTHREAD(pthread_mutex_destroy(&segments->lock));
}

/* Wakes all workers. */
static void tell(struct load_segments *segments)
{
    int failed = eventfd_write(segments->changed_fd, 1);
    assert(!failed);
}

void load_segments_start(struct load_segments *segments, int64_t start_ns)
{
    CHECK_PTHREAD(pthread_mutex_lock(&segments->lock));
    segments->start_ns = start_ns;
    CHECK_PTHREAD(pthread_mutex_unlock(&segments->lock));
}

unsigned load_segments_count(const struct load_segments *segments)
{
    return atomic_load_explicit(&segments->count, memory_order_acquire);
}

const struct load_segment *load_segments_at(const struct load_segments *segments, unsigned index)
{
    assert(index < load_segments_count(segments));
    return segments->list[index];
}

bool load_segments_is_over(struct load_segments *segments, unsigned index, unsigned *waits_at)
{
    CHECK_PTHREAD(pthread_mutex_lock(&segments->lock));
    bool was_over = segments->is_over;
    unsigned count = load_segments_count(segments);
    if (index + 1 == count && *waits_at != count) {
        segments->waiting++;
        *waits_at = count;
    }
    segments->is_over |= segments->waiting == segments->workers;
    bool is_over = segments->is_over;
    CHECK_PTHREAD(pthread_mutex_unlock(&segments->lock));
    if (is_over && !was_over)
        tell(segments);
    return is_over;
}

static enum load_change_outcome refuse(enum load_change_outcome outcome, const char *reason,
                                       char *why, size_t why_size)
{
    snprintf(why, why_size, "%s", reason);
    return outcome;
}

/* The schedule from a moment of the segment before to the run's end. */
static enum load_change_outcome set_schedule(struct load_segment *next,
                                             const struct load_segment *before,
                                             const struct load_change *change, char *why,
                                             size_t why_size)
{
    double at_s = (double)(next->from_ns - before->from_ns) / (double)CLOCK_NS_PER_S;
    double rest_s = before->schedule.duration_s - at_s;
    uint64_t seed = change->has_seed ? change->seed : before->schedule.seed + 1;
    char reason[256];
    if (rest_s <= 0)
        return refuse(LOAD_CHANGE_TOO_LATE, "the run is about to end", why, why_size);
    if (change->stages) {
        if (!schedule_parse_stages(&next->schedule, change->stages, seed, reason, sizeof reason) ||
            !schedule_hold_until(&next->schedule, rest_s, reason, sizeof reason)) {
            snprintf(why, why_size, "stages: %s", reason);
            return LOAD_CHANGE_WRONG;
        }
    } else if (change->has_rate) {
        schedule_init(&next->schedule, change->rate_per_s, rest_s, seed);
    } else {
        schedule_rest(&next->schedule, &before->schedule, at_s, seed);
    }
    if (next->schedule.expected < 1)
        return refuse(LOAD_CHANGE_WRONG, "rate: less than one request until the run's end", why,
                      why_size);
    enum arrivals arrivals = change->has_arrivals ? change->arrivals : before->schedule.arrivals;
    if (arrivals == ARRIVALS_POISSON && next->schedule.count > LOAD_CHANGE_POISSON_MAX) {
        snprintf(why, why_size, "arrivals: 'poisson' is for at most %d requests in a change",
                 LOAD_CHANGE_POISSON_MAX);
        return LOAD_CHANGE_WRONG;
    }
    schedule_set_arrivals(&next->schedule, arrivals);
    return LOAD_CHANGE_DONE;
}

/* The lock is held. */
static enum load_change_outcome make_next(const struct load_segments *segments,
                                          const struct load_segment *before,
                                          const struct load_change *change,
                                          struct load_segment *next, char *why, size_t why_size)
{
    *next = *before;
    /* a run that has not begun will have, by then */
    int64_t run_ns = segments->start_ns ? clock_now_ns() - segments->start_ns : 0;
    if (run_ns < 0)
        run_ns = 0;
    /* One that will not begin soon is replaced: it has no request before that. */
    next->from_ns = run_ns + LOAD_CHANGE_DELAY_NS;
    if (before->from_ns > run_ns + LOAD_CHANGE_DELAY_NS / 2)
        next->from_ns = before->from_ns;
    if (change->has_retries)
        next->retries = change->retries;
    if (change->has_retry_budget)
        next->retry_budget_percent = change->retry_budget_percent;
    if (change->has_share)
        next->share_percent = change->share_percent;
    if (change->has_items && before->check != LOAD_CHECK_FEED)
        return refuse(LOAD_CHANGE_WRONG, "items: this run checks the status alone", why, why_size);
    if (change->has_items) {
        next->items = change->items;
        if (!target_set_items(&next->target, change->items))
            return refuse(LOAD_CHANGE_WRONG, "items: the URL has no room for '?items='", why,
                          why_size);
    }
    return set_schedule(next, before, change, why, why_size);
}

/* How often the requests of one that another one follows may be sent. By the area under the rate:
 * random arrivals would have to be walked through. */
static double attempts_of(const struct load_segment *segment, const struct load_segment *after)
{
    double for_s = (double)(after->from_ns - segment->from_ns) / (double)CLOCK_NS_PER_S;
    double requests = schedule_area_before(&segment->schedule, for_s);
    return requests * segment->share_percent / 100 * (1 + segment->retries);
}

/* The lock is held. Whether the caller may have it. */
static bool is_allowed(const struct load_segments *segments, const struct load_change *change,
                       const struct load_segment *next, char *why, size_t why_size)
{
    unsigned count = load_segments_count(segments);
    double before = 0;
    if (!change->allows)
        return true;
    for (unsigned i = 0; i < count; i++)
        before += attempts_of(segments->list[i], i + 1 < count ? segments->list[i + 1] : next);
    return change->allows(change->context, next, (uint64_t)ceil(before), why, why_size);
}

/* The lock is held. The machine may have kept us from publishing it in time. */
static bool is_late(const struct load_segments *segments, const struct load_segment *next)
{
    return segments->start_ns && clock_now_ns() - segments->start_ns >= next->from_ns;
}

enum load_change_outcome load_segments_change(struct load_segments *segments,
                                              const struct load_change *change,
                                              struct load_segment *made, char *why, size_t why_size)
{
    struct load_segment *next = malloc(sizeof *next);
    enum load_change_outcome outcome = LOAD_CHANGE_DONE;
    if (!next)
        return refuse(LOAD_CHANGE_TOO_LATE, "out of memory", why, why_size);
    CHECK_PTHREAD(pthread_mutex_lock(&segments->lock));
    unsigned count = load_segments_count(segments);
    if (segments->is_over)
        outcome = refuse(LOAD_CHANGE_TOO_LATE, "its last request has been sent", why, why_size);
    else if (count == LOAD_SEGMENTS_MAX)
        outcome = refuse(LOAD_CHANGE_TOO_LATE, "it was changed too often", why, why_size);
    else
        outcome = make_next(segments, segments->list[count - 1], change, next, why, why_size);
    if (outcome == LOAD_CHANGE_DONE && !is_allowed(segments, change, next, why, why_size))
        outcome = LOAD_CHANGE_WRONG;
    if (outcome == LOAD_CHANGE_DONE && is_late(segments, next))
        outcome =
            refuse(LOAD_CHANGE_TOO_LATE, "the load tester was too busy; try again", why, why_size);
    if (outcome == LOAD_CHANGE_DONE) {
        *made = *next;
        segments->list[count] = next;
        segments->waiting = 0; /* nobody has sent what this one has */
        atomic_store_explicit(&segments->count, count + 1, memory_order_release);
    }
    CHECK_PTHREAD(pthread_mutex_unlock(&segments->lock));
    if (outcome != LOAD_CHANGE_DONE) {
        free(next);
        return outcome;
    }
    tell(segments);
    return outcome;
}

uint64_t load_segment_sent_of(const struct load_segment *segment, uint64_t count)
{
    /* 0.29 * 100 is a little less than 29 in binary */
    return (uint64_t)((double)count * segment->share_percent / 100 + 1e-6);
}

bool load_segment_sends(const struct load_segment *segment, uint64_t index)
{
    return load_segment_sent_of(segment, index + 1) > load_segment_sent_of(segment, index);
}

uint64_t load_segments_requests_of(const struct load_segments *segments, unsigned index)
{
    const struct load_segment *segment = load_segments_at(segments, index);
    if (index + 1 == load_segments_count(segments))
        return load_segment_sent_of(segment, segment->schedule.count);
    int64_t until_ns = load_segments_at(segments, index + 1)->from_ns - segment->from_ns;
    return load_segment_sent_of(segment, schedule_count_before(&segment->schedule, until_ns));
}

uint64_t load_segments_expected(const struct load_segments *segments)
{
    double sum = 0;
    unsigned count = load_segments_count(segments);
    for (unsigned i = 0; i < count; i++) {
        const struct load_segment *segment = segments->list[i];
        double end_s = segment->schedule.duration_s;
        if (i + 1 < count)
            end_s = (double)(segments->list[i + 1]->from_ns - segment->from_ns) /
                    (double)CLOCK_NS_PER_S;
        sum += schedule_area_before(&segment->schedule, end_s) * segment->share_percent / 100;
    }
    return (uint64_t)(sum + 1e-6);
}
