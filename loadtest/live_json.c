#include "loadtest/live_json.h"

#include "loadtest/run_json.h"

static json_t *ledger_json(const struct ledger *ledger)
{
    json_t *root = json_pack("{s:I, s:I, s:I, s:I}", "scheduled", (json_int_t)ledger->scheduled,
                             "sent", (json_int_t)ledger->sent, "attempts",
                             (json_int_t)ledger->attempts, "retries", (json_int_t)ledger->retries);
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        json_object_set_new(root, ledger_outcome_key((enum outcome)i),
                            json_integer((json_int_t)ledger->outcomes[i]));
    return root;
}

static json_t *latest_json(const struct load_live *figures)
{
    json_t *outcomes = json_object();
    json_t *p99 = json_null();
    if (figures->window_s <= 0) {
        json_decref(outcomes);
        return json_null();
    }
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        json_object_set_new(outcomes, ledger_outcome_key((enum outcome)i),
                            json_real((double)figures->window_outcomes[i] / figures->window_s));
    if (figures->window_response.count > 0)
        p99 =
            json_real((double)coarse_histogram_percentile_us(&figures->window_response, 99) / 1e3);
    return json_pack("{s:f, s:f, s:o, s:o}", "window_s", figures->window_s, "rate",
                     (double)figures->window_scheduled / figures->window_s, "outcomes", outcomes,
                     "p99_ms", p99);
}

static json_t *service_json(const struct run_live *live)
{
    const struct service_sample *sample = &live->service;
    if (live->service_state == SCRAPE_NEVER)
        return json_null();
    return json_pack("{s:b, s:o, s:o, s:o, s:o}", "up", live->service_state == SCRAPE_UP,
                     "pool_used", run_json_number(sample->pool_used), "pool_max",
                     run_json_number(sample->pool_max), "pool_pending",
                     run_json_number(sample->pool_pending), "threads",
                     run_json_number(sample->threads));
}

json_t *live_json_build(const struct run_live *live)
{
    if (live->looks == 0)
        return json_null();
    json_t *planned = live->planned ? json_integer((json_int_t)live->planned) : json_null();
    return json_pack("{s:f, s:o, s:b, s:I, s:o, s:o, s:o}", "elapsed_s", live->elapsed_s, "planned",
                     planned, "stopping", live->stopping, "in_flight",
                     (json_int_t)live->figures.in_flight, "ledger",
                     ledger_json(&live->figures.ledger), "latest", latest_json(&live->figures),
                     "service", service_json(live));
}
