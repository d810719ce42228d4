#include "loadtest/base/samples.h"

#include "common/check.h"
#include "common/clock.h"

#include <math.h>

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

void samples_sort(int64_t *samples_ns, size_t count)
{
    qsort(samples_ns, count, sizeof samples_ns[0], compare);
}

double samples_percentile_ms(const int64_t *sorted_ns, size_t count, double percent)
{
    assert(count > 0);
    double rank = ceil(percent * (double)count / 100.0 - 1e-6);
    size_t at = rank < 1 ? 0 : (size_t)rank - 1;
    return (double)sorted_ns[at < count ? at : count - 1] / (double)CLOCK_NS_PER_MS;
}

double samples_mean_ms(const int64_t *samples_ns, size_t count)
{
    double sum_ns = 0;
    assert(count > 0);
    for (size_t i = 0; i < count; i++)
        sum_ns += (double)samples_ns[i];
    return sum_ns / (double)count / (double)CLOCK_NS_PER_MS;
}

size_t samples_longer(const int64_t *samples_ns, size_t count, int64_t value_ns)
{
    size_t longer = 0;
    for (size_t i = 0; i < count; i++)
        longer += samples_ns[i] > value_ns;
    return longer;
}
