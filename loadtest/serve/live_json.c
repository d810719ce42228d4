#include "loadtest/serve/live_json.h"

#include "common/json.h"
#include "loadtest/report/ledger_json.h"

#include <math.h>

static json_t *latest_json(const struct load_live *figures)
{
    json_t *outcomes = json_object();
    json_t *p99 = json_null();
    if (figures->latest.window_s <= 0) {
        json_decref(outcomes);
        return json_null();
    }
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        json_object_set_new(
            outcomes, ledger_outcome_key((enum outcome)i),
            json_real((double)figures->latest.outcomes[i] / figures->latest.window_s));
    if (figures->latest.response.count > 0)
        p99 =
            json_real((double)coarse_histogram_percentile_us(&figures->latest.response, 99) / 1e3);
    return json_pack("{s:f, s:f, s:o, s:o, s:b}", "window_s", figures->latest.window_s, "rate",
                     (double)figures->latest.scheduled / figures->latest.window_s, "outcomes",
                     outcomes, "p99_ms", p99, "p99_at_least",
                     recent_is_at_least(&figures->latest, 99));
}

static json_t *service_json(const struct run_live *live)
{
    static const struct service_sample unknown = {
        .pool_used = NAN, .pool_max = NAN, .pool_pending = NAN, .threads = NAN};
    bool is_up = live->service_state == SCRAPE_UP;
    const struct service_sample *sample = is_up ? &live->service : &unknown; /* the last is old */
    if (live->service_state == SCRAPE_NEVER)
        return json_null();
    return json_pack(
        "{s:b, s:o, s:o, s:o, s:o}", "up", is_up, "pool_used", json_real_or_null(sample->pool_used),
        "pool_max", json_real_or_null(sample->pool_max), "pool_pending",
        json_real_or_null(sample->pool_pending), "threads", json_real_or_null(sample->threads));
}

json_t *live_json_build(const struct run_live *live)
{
    if (live->updates == 0)
        return json_null();
    json_t *planned = live->planned ? json_integer((json_int_t)live->planned) : json_null();
    return json_pack("{s:f, s:o, s:b, s:I, s:o, s:o, s:o}", "elapsed_s", live->elapsed_s, "planned",
                     planned, "stopping", live->stopping, "in_flight",
                     (json_int_t)live->figures.in_flight, "ledger",
                     ledger_json_build(&live->figures.ledger), "latest",
                     latest_json(&live->figures), "service", service_json(live));
}
