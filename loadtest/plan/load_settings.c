#include "loadtest/plan/load_settings.h"

#include "common/check.h"
#include "common/clock.h"

int64_t load_settings_span_ns(const struct load_settings *settings)
{
    assert(settings->schedule.duration_s > 0 && settings->timeout_ns > 0);
    return (int64_t)(settings->schedule.duration_s * (double)CLOCK_NS_PER_S) +
           settings->timeout_ns + CLOCK_NS_PER_S / 4;
}
