#include "loadtest/judge/generator_check.h"

#include "common/check.h"

#include <inttypes.h>

#define MOST_OF_A_RUN 0.9

/* Response times include the lag: so the share compares like with like. Where a few requests had no
 * answer, and stand at their timeout, the lag is in the right answers, which are most of the run.
 */
static bool matters(const struct load_stats *stats, double percent, int64_t least_us)
{
    int64_t lag_us = histogram_percentile_us(&stats->lag, percent);
    int64_t response_us = histogram_percentile_us(&stats->response_all, percent);
    if ((double)stats->response_ok.count > MOST_OF_A_RUN * (double)stats->response_all.count) {
        int64_t right_us = histogram_percentile_us(&stats->response_ok, percent);
        response_us = right_us < response_us ? right_us : response_us;
    }
    return lag_us > least_us && (double)lag_us > GENERATOR_LAG_SHARE * (double)response_us;
}

bool generator_check(const struct load_stats *stats,
                     void (*add)(void *argument, const char *sentence), void *argument)
{
    const struct generator_stats *generator = &stats->generator;
    char sentence[256];
    bool valid = true;
    if (matters(stats, 99, GENERATOR_LAG_P99_US) || matters(stats, 100, GENERATOR_LAG_MAX_US) ||
        histogram_percentile_us(&stats->lag, 100) > GENERATOR_LAG_LIMIT_US) {
        snprintf(sentence, sizeof sentence,
                 "The load tester did not keep its schedule: it sent up to %.0f ms late (p99 %.0f "
                 "ms), and the response times include that.",
                 (double)histogram_percentile_us(&stats->lag, 100) / 1e3,
                 (double)histogram_percentile_us(&stats->lag, 99) / 1e3);
        add(argument, sentence);
        valid = false;
    }
    if (generator->busiest_share > GENERATOR_CPU_SHARE) {
        snprintf(sentence, sizeof sentence,
                 "The load tester was out of CPU: a thread used %.0f %% of a core (more "
                 "--threads, or another machine).",
                 100 * generator->busiest_share);
        add(argument, sentence);
        valid = false;
    }
    if (generator->out_of_descriptors > 0) {
        snprintf(sentence, sizeof sentence,
                 "The load tester was out of descriptors: %" PRIu64
                 " connects failed for that (ulimit -n, --max-in-flight).",
                 generator->out_of_descriptors);
        add(argument, sentence);
        valid = false;
    }
    if (generator->out_of_ports > 0) {
        snprintf(sentence, sizeof sentence,
                 "The load tester's host was out of ports: %" PRIu64
                 " connects failed for that (net.ipv4.ip_local_port_range).",
                 generator->out_of_ports);
        add(argument, sentence);
        valid = false;
    }
    return valid;
}
