#include "loadtest/selftest_truth.h"

#include "common/check.h"
#include "common/clock.h"

#include <math.h>

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Returns how many requests could be worked out. */
static size_t fill(struct selftest_truth *truth, const struct selftest_run *run)
{
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    struct stall_slots slots = {0};
    const struct stall_record *record = run->record;
    size_t at = 0;
    schedule_cursor_init(&cursor, &run->settings.schedule, 0, 1);
    for (; schedule_next(&cursor, &arrival) && at < record->served_count; at++) {
        const struct stall_served *served = &record->served[at];
        if (served->answered_ns == 0)
            break;
        truth->done_ns[at] = served->answered_ns - run->result.start_ns - arrival.at_ns;
        truth->paper_ns[at] =
            stall_scene_finish_ns(run->scene, &slots, at, arrival.at_ns) - arrival.at_ns;
    }
    return at;
}

int selftest_truth_init(struct selftest_truth *truth, const struct selftest_run *run,
                        struct selftest_table *table)
{
    size_t count = run->settings.schedule.count;
    *truth = (struct selftest_truth){.count = count,
                                     .paper_ns = malloc(count * sizeof truth->paper_ns[0]),
                                     .done_ns = malloc(count * sizeof truth->done_ns[0])};
    bool has_memory = truth->paper_ns && truth->done_ns;
    if (!has_memory || fill(truth, run) < count) {
        selftest_trouble(table, has_memory ? "the server did not answer all" : "out of memory");
        selftest_truth_free(truth);
        return -1;
    }
    qsort(truth->paper_ns, count, sizeof truth->paper_ns[0], compare);
    qsort(truth->done_ns, count, sizeof truth->done_ns[0], compare);
    return 0;
}

void selftest_truth_free(struct selftest_truth *truth)
{
    free(truth->paper_ns);
    free(truth->done_ns);
    *truth = (struct selftest_truth){0};
}

double selftest_rank_ms(const int64_t *sorted_ns, size_t count, double percent)
{
    assert(count > 0);
    /* as histogram_percentile_us() has it */
    double rank = ceil(percent * (double)count / 100.0 - 1e-6);
    size_t at = rank < 1 ? 0 : (size_t)rank - 1;
    return (double)sorted_ns[at < count ? at : count - 1] / (double)CLOCK_NS_PER_MS;
}

double selftest_average_ms(const int64_t *samples_ns, size_t count)
{
    double sum_ns = 0;
    assert(count > 0);
    for (size_t i = 0; i < count; i++)
        sum_ns += (double)samples_ns[i];
    return sum_ns / (double)count / (double)CLOCK_NS_PER_MS;
}

size_t selftest_count_longer(const int64_t *sorted_ns, size_t count, int64_t value_ns)
{
    size_t at = count;
    while (at > 0 && sorted_ns[at - 1] > value_ns)
        at--;
    return count - at;
}

double selftest_late_ms(const struct selftest_truth *truth, double percent)
{
    return selftest_rank_ms(truth->done_ns, truth->count, percent) -
           selftest_rank_ms(truth->paper_ns, truth->count, percent);
}

double selftest_late_mean_ms(const struct selftest_truth *truth)
{
    return selftest_average_ms(truth->done_ns, truth->count) -
           selftest_average_ms(truth->paper_ns, truth->count);
}
