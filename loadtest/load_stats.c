#include "loadtest/load_stats.h"

void load_stats_merge(struct load_stats *into, const struct load_stats *from)
{
    ledger_merge(&into->ledger, &from->ledger);
    error_table_merge(&into->errors, &from->errors);
    feed_check_merge(&into->defects, &from->defects);
    histogram_merge(&into->response_all, &from->response_all);
    histogram_merge(&into->response_ok, &from->response_ok);
    histogram_merge(&into->service, &from->service);
    histogram_merge(&into->lag, &from->lag);
}

void load_stats_end(struct load_stats *stats, enum outcome outcome, bool answered,
                    int64_t intended_ns, int64_t sent_ns, int64_t at_ns)
{
    stats->ledger.outcomes[outcome]++;
    if (outcome == OUTCOME_IN_FLIGHT_AT_END || outcome == OUTCOME_DROPPED)
        return;
    histogram_record_ns(&stats->response_all, at_ns - intended_ns);
    if (outcome == OUTCOME_OK)
        histogram_record_ns(&stats->response_ok, at_ns - intended_ns);
    if (answered && sent_ns)
        histogram_record_ns(&stats->service, at_ns - sent_ns);
}
