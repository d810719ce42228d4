#include "loadtest/selftest/truth.h"

#include "common/check.h"

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

bool selftest_truth_init(struct selftest_truth *truth, const struct selftest_run *run,
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
        return false;
    }
    samples_sort(truth->paper_ns, count);
    samples_sort(truth->done_ns, count);
    return true;
}

void selftest_truth_free(struct selftest_truth *truth)
{
    free(truth->paper_ns);
    free(truth->done_ns);
    *truth = (struct selftest_truth){0};
}

double selftest_late_ms(const struct selftest_truth *truth, double percent)
{
    return samples_percentile_ms(truth->done_ns, truth->count, percent) -
           samples_percentile_ms(truth->paper_ns, truth->count, percent);
}

double selftest_late_mean_ms(const struct selftest_truth *truth)
{
    return samples_mean_ms(truth->done_ns, truth->count) -
           samples_mean_ms(truth->paper_ns, truth->count);
}
