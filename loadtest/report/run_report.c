#include "loadtest/report/run_report.h"

#include "common/check.h"
#include "common/clock.h"
#include "loadtest/judge/verdict.h"

#include <inttypes.h>
#include <math.h>

#define WIDTH        100
#define ERRORS_SHOWN 12

void run_report_us(char out[RUN_REPORT_LATENCY_SIZE], const char *prefix, int64_t us)
{
    if (us < 1000)
        snprintf(out, RUN_REPORT_LATENCY_SIZE, "%s%d us", prefix, (int)us);
    else if (us < 10000)
        snprintf(out, RUN_REPORT_LATENCY_SIZE, "%s%.2f ms", prefix, (double)us / 1e3);
    else if (us < 999500)
        snprintf(out, RUN_REPORT_LATENCY_SIZE, "%s%.0f ms", prefix, (double)us / 1e3);
    else
        snprintf(out, RUN_REPORT_LATENCY_SIZE, "%s%.2f s", prefix, (double)us / 1e6);
}

void run_report_latency(char out[RUN_REPORT_LATENCY_SIZE], const struct histogram *histogram,
                        double percent, bool at_least)
{
    assert(histogram);
    if (histogram->count == 0)
        snprintf(out, RUN_REPORT_LATENCY_SIZE, "-");
    else
        run_report_us(out, at_least ? ">=" : "", histogram_percentile_us(histogram, percent));
}

static void add_wrapped(void *argument, const char *sentence)
{
    struct text *out = argument;
    size_t column = 0;
    while (*sentence) {
        size_t word = strcspn(sentence, " ");
        if (column > 0 && 6 + column + 1 + word > WIDTH)
            column = 0;
        text_addf(out, "%s%.*s", column == 0 ? "\n      " : " ", (int)word, sentence);
        column += word + 1;
        sentence += word + (sentence[word] == ' ');
    }
}

static void add_stages(struct text *out, const struct schedule *schedule)
{
    for (size_t i = 0; i < schedule->stage_count; i++) {
        const struct schedule_stage *stage = &schedule->stages[i];
        text_addf(out, "%s%.6g", i > 0 ? ", " : "", stage->from_per_s);
        if (stage->to_per_s != stage->from_per_s)
            text_addf(out, " to %.6g", stage->to_per_s);
        text_addf(out, " req/s for %.6g s", stage->duration_s);
    }
}

/* What was asked: a line or two. */
static void add_load(struct text *out, const struct load_settings *settings)
{
    const struct schedule *schedule = &settings->schedule;
    if (settings->closed) {
        text_addf(out,
                  "CLOSED loop: %" PRIu64 " callers for %.6g s, each waits for its answer before "
                  "it asks again (seed %" PRIu64 ")\n",
                  settings->closed, schedule->duration_s, schedule->seed);
    } else {
        text_addf(out, "open loop, %s arrivals: ", schedule_arrivals_name(schedule->arrivals));
        add_stages(out, schedule);
        text_addf(out, " = %" PRIu64 " requests (seed %" PRIu64 ", schedule %016" PRIx64 ")\n",
                  schedule->count, schedule->seed, schedule_hash(schedule));
    }
    text_addf(out, "timeout %.4g s", (double)settings->timeout_ns / (double)CLOCK_NS_PER_S);
    if (settings->retries > 0)
        text_addf(out, ", up to %u retries after %.4g s, doubled each time", settings->retries,
                  (double)settings->retry_backoff_ns / (double)CLOCK_NS_PER_S);
    if (settings->retries > 0 && settings->retry_budget_percent < LOAD_RETRY_BUDGET_NONE)
        text_addf(out, ", at most %.4g for each 100 requests", settings->retry_budget_percent);
    text_add(out, settings->check == LOAD_CHECK_FEED ? "; " : "; only the status is looked at\n");
    if (settings->check == LOAD_CHECK_FEED)
        text_addf(out, "each answer is held against the data rule, entry by entry (%u items)\n",
                  settings->items);
}

static void add_header(struct text *out, const struct test_plan *plan,
                       const struct load_result *result)
{
    const struct load_settings *settings = &plan->load;
    const struct ledger *ledger = &result->stats->ledger;
    text_addf(out, "Running %.4gs test @ %s\n", settings->schedule.duration_s,
              settings->target.url);
    add_load(out, settings);
    double share = ledger->scheduled
                       ? 100.0 * (double)ledger->outcomes[OUTCOME_OK] / (double)ledger->scheduled
                       : 0;
    text_addf(out, "\n%s: %" PRIu64 " of %" PRIu64 " requests were answered %s (%.*f %%)",
              verdict_word(verdict_exit_code(result, plan)), ledger->outcomes[OUTCOME_OK],
              ledger->scheduled, settings->check == LOAD_CHECK_FEED ? "right" : "well",
              share > 99 && share < 100 ? 3 : 1, share);
    verdict_explain(result, plan, add_wrapped, out);
    text_add(out, "\n");
}

static void add_ledger(struct text *out, const struct load_result *result)
{
    const struct ledger *ledger = &result->stats->ledger;
    text_addf(out, "\n%-26s %10s %9s\n", "outcome", "requests", "share");
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        text_addf(out, "%-26s %10" PRIu64 " %7.2f %%\n", ledger_outcome_label((enum outcome)i),
                  ledger->outcomes[i],
                  ledger->scheduled
                      ? 100.0 * (double)ledger->outcomes[i] / (double)ledger->scheduled
                      : 0);
    }
    text_addf(out, "%-26s %10" PRIu64 "   %s: %" PRIu64 " sent + %" PRIu64 " dropped\n",
              "scheduled", ledger->scheduled, result->balanced ? "balanced" : "NOT BALANCED",
              ledger->sent, ledger->outcomes[OUTCOME_DROPPED]);
    if (ledger->retries > 0)
        text_addf(out, "%-26s %10" PRIu64 "   %" PRIu64 " sent + %" PRIu64 " retries\n", "attempts",
                  ledger->attempts, ledger->sent, ledger->retries);
}

/* `censored`: the run's, where unanswered requests are in the histogram; else NULL. */
static void add_latency_row(struct text *out, const char *name, const struct histogram *histogram,
                            const struct load_stats *censored)
{
    static const double percents[] = {50, 90, 99, 99.9, 100};
    text_addf(out, "%-42s", name);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        char latency[RUN_REPORT_LATENCY_SIZE];
        run_report_latency(latency, histogram, percents[i],
                           censored && load_stats_is_censored(censored, percents[i]));
        text_addf(out, " %10s", latency);
    }
    text_add(out, "\n");
}

static void add_latencies(struct text *out, const struct load_stats *stats)
{
    text_addf(out, "\n%-42s %10s %10s %10s %10s %10s\n", "latency", "50%", "90%", "99%", "99.9%",
              "max");
    add_latency_row(out, "response, from the intended start: all", &stats->response_all, stats);
    add_latency_row(out, "  of the right answers alone", &stats->response_ok, NULL);
    add_latency_row(out, "service, from the real send: answered ones", &stats->service, NULL);
    add_latency_row(out, "  to the first byte", &stats->first_byte, NULL);
    add_latency_row(out, "connect, of new connections", &stats->connect, NULL);
    add_latency_row(out, "how late the load tester itself sent", &stats->lag, NULL);
}

/* wrk's closing lines, whose names everybody knows. */
static void add_rates(struct text *out, const struct load_settings *settings,
                      const struct load_result *result)
{
    const struct ledger *ledger = &result->stats->ledger;
    const struct generator_stats *generator = &result->stats->generator;
    double elapsed_s = (double)result->elapsed_ns / (double)CLOCK_NS_PER_S;
    if (elapsed_s <= 0)
        return;
    if (!settings->closed)
        text_addf(out, "\nOffered/sec:  %10.2f", schedule_mean_rate(&settings->schedule));
    text_addf(out, "\nRequests/sec: %10.2f   answered, over the %.2f s until the last one ended\n",
              (double)ledger_answered(ledger) / elapsed_s, elapsed_s);
    text_addf(out, "Right/sec:    %10.2f\n", (double)ledger->outcomes[OUTCOME_OK] / elapsed_s);
    if (ledger->attempts > 0)
        text_addf(out,
                  "load tester:  %.1f us of CPU a request, its busiest thread %.0f %% of a core\n",
                  (double)generator->cpu_ns / 1e3 / (double)ledger->attempts,
                  100 * generator->busiest_share);
}

static void add_error(struct text *out, const struct error_row *row)
{
    char status[12] = "-";
    char ecode[12] = "-";
    if (row->http_status)
        snprintf(status, sizeof status, "%d", row->http_status);
    if (row->ecode)
        snprintf(ecode, sizeof ecode, "%d", row->ecode);
    text_addf(out, "%8" PRIu64 " %8.2f s  %4s  %6s  ", row->count,
              (double)row->first_at_ns / (double)CLOCK_NS_PER_S, status, ecode);
    text_addf(out, "%s\n", row->message);
    if (row->request_id[0])
        text_addf(out, "%36s first request id: %s\n", "", row->request_id);
}

static void add_errors(struct text *out, const struct error_table *errors)
{
    uint64_t rest = errors->other;
    if (errors->row_count == 0)
        return;
    text_addf(out, "\n%8s %10s  %4s  %6s  %s\n", "errors", "first at", "HTTP", "ecode", "message");
    for (size_t i = 0; i < errors->row_count; i++) {
        if (i < ERRORS_SHOWN)
            add_error(out, &errors->rows[i]);
        else
            rest += errors->rows[i].count;
    }
    if (rest > 0)
        text_addf(out, "%8" PRIu64 " %10s  %4s  %6s  others\n", rest, "", "", "");
}

static void add_service(struct text *out, const struct scrape_result *service)
{
    double use_ms = scrape_mean_use_s(service) * 1e3;
    text_addf(out, "\nservice   %u crash%s", service->restarts, service->restarts == 1 ? "" : "es");
    if (!isnan(use_ms))
        text_addf(out, "; mean use of a connection %.2f ms", use_ms);
    if (!isnan(service->last.pool_max))
        text_addf(
            out,
            "\n          pool at worst %.0f of %.0f used, %.0f waiting; %.0f checkouts timed out",
            service->pool_used_peak, service->last.pool_max, service->pool_pending_peak,
            service->timeouts);
    text_add(out, "\n");
}

void run_report_write(struct text *out, const struct test_plan *plan,
                      const struct load_result *result)
{
    add_header(out, plan, result);
    add_ledger(out, result);
    add_latencies(out, result->stats);
    add_errors(out, &result->stats->errors);
    if (result->has_service)
        add_service(out, &result->service);
    add_rates(out, &plan->load, result);
}
