#include "loadtest/books/load_stats.h"

#include "common/check.h"
#include "common/clock.h"

/* The share of a core is taken over no shorter time. */
#define CPU_LEAST_SPAN_NS CLOCK_NS_PER_S

bool load_stats_init(struct load_stats *stats, int64_t span_ns)
{
    memset(stats, 0, sizeof *stats); /* touches the histograms now, not as the run goes on */
    stats->censored_from_ns = CLOCK_NEVER;
    return timeline_init(&stats->timeline, span_ns) && seconds_init(&stats->seconds, span_ns);
}

void load_stats_destroy(struct load_stats *stats)
{
    timeline_destroy(&stats->timeline);
    seconds_destroy(&stats->seconds);
}

static void merge_generator(struct generator_stats *into, const struct generator_stats *from)
{
    into->cpu_ns += from->cpu_ns;
    if (from->busiest_share > into->busiest_share)
        into->busiest_share = from->busiest_share;
    into->out_of_descriptors += from->out_of_descriptors;
    into->out_of_ports += from->out_of_ports;
}

void load_stats_merge(struct load_stats *into, const struct load_stats *from)
{
    assert(into != from);
    ledger_merge(&into->ledger, &from->ledger);
    error_table_merge(&into->errors, &from->errors);
    feed_check_merge(&into->defects, &from->defects);
    histogram_merge(&into->response_all, &from->response_all);
    if (from->censored_from_ns < into->censored_from_ns)
        into->censored_from_ns = from->censored_from_ns;
    histogram_merge(&into->response_ok, &from->response_ok);
    histogram_merge(&into->service, &from->service);
    histogram_merge(&into->first_byte, &from->first_byte);
    histogram_merge(&into->connect, &from->connect);
    histogram_merge(&into->lag, &from->lag);
    timeline_merge(&into->timeline, &from->timeline);
    seconds_add(&into->seconds, &from->seconds, 0, into->seconds.count);
    merge_generator(&into->generator, &from->generator);
}

bool load_stats_is_censored(const struct load_stats *stats, double percent)
{
    if (stats->censored_from_ns == CLOCK_NEVER || stats->response_all.count == 0)
        return false;
    int64_t from_us = (stats->censored_from_ns + 500) / 1000;
    if (from_us > HISTOGRAM_HIGHEST_US)
        from_us = HISTOGRAM_HIGHEST_US;
    int64_t value_us = histogram_percentile_us(&stats->response_all, percent);
    return histogram_index(value_us) >= histogram_index(from_us);
}

/* How long the caller waited for an answer, or at least waited. */
static int64_t response_ns(const struct request_end *end)
{
    int64_t age_ns = end->at_ns - end->intended_ns;
    if (ledger_outcome_is_answered(end->outcome) ||
        ledger_outcome_class(end->outcome) == OUTCOME_CLASS_UNFINISHED)
        return age_ns;
    /* A refused caller has an error at once, but no answer, however long it goes on waiting. */
    return end->timeout_ns;
}

void load_stats_end(struct load_stats *stats, const struct request_end *end)
{
    struct timeline_slot *slot = timeline_slot(&stats->timeline, end->at_ns - end->start_ns);
    struct recent_slot *recent = recent_slot_at(&stats->recent, end->at_ns - end->start_ns);
    int64_t waited_ns = response_ns(end);
    assert(end->outcome < OUTCOME_COUNT && waited_ns >= 0);
    stats->ledger.outcomes[end->outcome]++;
    slot->outcomes[end->outcome]++;
    histogram_record_ns(&stats->response_all, waited_ns);
    coarse_histogram_record_ns(&slot->response, waited_ns);
    seconds_end(&stats->seconds, &(struct second_end){.outcome = end->outcome,
                                                      .due_ns = end->intended_ns - end->start_ns,
                                                      .at_ns = end->at_ns - end->start_ns,
                                                      .waited_ns = waited_ns,
                                                      .is_probe = end->is_probe});
    if (recent) {
        recent->outcomes[end->outcome]++;
        coarse_histogram_record_ns(&recent->response, waited_ns);
        if (!ledger_outcome_is_answered(end->outcome) &&
            (recent->censored_from_ns == 0 || waited_ns < recent->censored_from_ns))
            recent->censored_from_ns = waited_ns > 0 ? waited_ns : 1;
    }
    if (!ledger_outcome_is_answered(end->outcome)) {
        if (waited_ns < stats->censored_from_ns)
            stats->censored_from_ns = waited_ns;
        return;
    }
    if (ledger_outcome_class(end->outcome) == OUTCOME_CLASS_RIGHT)
        histogram_record_ns(&stats->response_ok, waited_ns);
    assert(end->sent_ns && end->first_byte_ns >= end->sent_ns && end->at_ns >= end->first_byte_ns);
    histogram_record_ns(&stats->service, end->at_ns - end->sent_ns);
    histogram_record_ns(&stats->first_byte, end->first_byte_ns - end->sent_ns);
    coarse_histogram_record_ns(&slot->service, end->at_ns - end->sent_ns);
}

void load_stats_measure_cpu(struct load_stats *stats, int64_t start_ns)
{
    struct generator_stats *generator = &stats->generator;
    struct timespec used;
    int failed = clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    assert(!failed);
    int64_t wall_ns = clock_now_ns() - start_ns;
    generator->cpu_ns = used.tv_sec * CLOCK_NS_PER_S + used.tv_nsec;
    /* One request takes all of the first millisecond, which says nothing about the generator. */
    if (generator->busiest_share == 0 && wall_ns >= CPU_LEAST_SPAN_NS)
        generator->busiest_share = (double)generator->cpu_ns / (double)wall_ns;
}
