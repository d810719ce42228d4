/*
 * The load tester's own state: /metrics, /healthz, the page and its login.
 */
#include "common/check.h"
#include "common/metrics.h"
#include "common/page/asset.h"
#include "loadtest/serve/api.h"

/* From page/page.S: starts and follows a run by the endpoints beside it. */
ASSET(index_html);

static void write_labelled(struct text *out, const char *name, const char *label, const char *value,
                           double count)
{
    struct text labels = {0};
    metrics_label(&labels, label, value);
    if (!labels.failed)
        metrics_sample(out, name, labels.data, count);
    text_clear(&labels);
}

static void write_runs(struct text *out, const struct run_totals *totals)
{
    static const char name[] = "flashover_loadtest_runs_total";
    static const struct {
        enum exit_code code;
        enum exit_code other; /* with the same word */
    } verdicts[] = {{EXIT_PASS, EXIT_PASS},
                    {EXIT_THRESHOLD, EXIT_THRESHOLD},
                    {EXIT_INVALID, EXIT_INVALID},
                    {EXIT_SIGNAL, EXIT_STOPPED_BY_REST},
                    {EXIT_TROUBLE, EXIT_TROUBLE}};
    metrics_family(out, name, "counter", "Runs that have ended, by their verdict.");
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        uint64_t count = totals->runs[verdicts[i].code];
        if (verdicts[i].other != verdicts[i].code)
            count += totals->runs[verdicts[i].other];
        write_labelled(out, name, "verdict", verdict_word(verdicts[i].code), (double)count);
    }
}

void api_metrics(void *context, const struct http_request *request, struct http_response *response)
{
    static const char requests[] = "flashover_loadtest_requests_total";
    const struct api *api = context;
    struct text *out = &response->body;
    struct run_totals totals;
    (void)request;
    run_control_totals(api->control, &totals);
    response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_gauge(out, "process_start_time_seconds", "",
                  "Unix time at which the load tester started.", api->started_unix_s);
    metrics_gauge(out, "flashover_loadtest_run_in_progress", "", "1 while a run is under way.",
                  totals.running);
    metrics_gauge(out, "flashover_loadtest_requests_in_flight", "",
                  "Requests that await their answer.", (double)totals.in_flight);
    metrics_family(out, requests, "counter", "Requests that have ended, by their outcome.");
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        write_labelled(out, requests, "outcome", ledger_outcome_key((enum outcome)i),
                       (double)totals.outcomes[i]);
    if (totals.has_p99)
        metrics_gauge(
            out, "flashover_loadtest_response_p99_seconds", "",
            "Response time: of the latest second of a run under way, or of all of the last "
            "run.",
            totals.p99_s);
    write_runs(out, &totals);
}

void api_health(void *context, const struct http_request *request, struct http_response *response)
{
    (void)context, (void)request;
    text_add(&response->body, "{\"status\":\"alive\"}\n");
}

void api_page(void *context, const struct http_request *request, struct http_response *response)
{
    (void)context;
    (void)request;
    response->content_type = "text/html; charset=utf-8";
    text_append(&response->body, asset_index_html,
                (size_t)(asset_index_html_end - asset_index_html));
}

void api_login_form(void *context, const struct http_request *request,
                    struct http_response *response)
{
    const struct api *api = context;
    (void)request;
    http_login_form(&api->login, response, 200);
}

void api_login(void *context, const struct http_request *request, struct http_response *response)
{
    const struct api *api = context;
    http_login_enter(&api->login, request, response);
}
