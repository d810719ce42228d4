/*
 * What a finished run can be looked at as: over time, as a spectrum of percentiles, as a page.
 */
#include "common/check.h"
#include "loadtest/report/report_html.h"
#include "loadtest/serve/api.h"

void api_run_series(void *context, const struct http_request *request,
                    struct http_response *response)
{
    json_t *record = api_load_finished(context, request, response, "series");
    if (!record)
        return;
    json_t *slot = json_object_get(json_object_get(record, "run"), "slot_s");
    http_response_json(request, response,
                       json_pack("{s:O, s:O?, s:O?}", "id", json_object_get(record, "id"), "slot_s",
                                 slot, "series", json_object_get(record, "series")));
    json_decref(record);
}

/* A line of HdrHistogram's text output, which its plotter reads. */
static void add_step(struct text *out, const json_t *step)
{
    const json_t *inverse = json_array_get(step, 3);
    text_addf(out, "%12.3f %2.12f %10lld ", json_number_value(json_array_get(step, 0)),
              json_number_value(json_array_get(step, 1)),
              (long long)json_integer_value(json_array_get(step, 2)));
    if (json_is_number(inverse))
        text_addf(out, "%14.2f\n", json_number_value(inverse));
    else
        text_addf(out, "%14s\n", "inf");
}

void api_run_histogram(void *context, const struct http_request *request,
                       struct http_response *response)
{
    const char *of;
    if (http_request_argument(request, "of", &of) == 0)
        of = "response";
    if (strcmp(of, "response") != 0 && strcmp(of, "service") != 0) {
        char shown[65];
        char message[HTTP_ERROR_SIZE];
        text_one_line(of, shown, sizeof shown);
        snprintf(message, sizeof message, "of: '%s' is not in the range response|service", shown);
        http_response_refuse(request, response, 400, message);
        return;
    }
    json_t *record = api_load_finished(context, request, response, "histogram");
    if (!record)
        return;
    struct text *out = &response->body;
    const json_t *latency = json_object_get(json_object_get(record, "latency_ms"), of);
    const json_t *steps = json_object_get(json_object_get(record, "spectrum"), of);
    response->content_type = "text/plain; charset=utf-8";
    text_addf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
              "1/(1-Percentile)");
    for (size_t i = 0; i < json_array_size(steps); i++)
        add_step(out, json_array_get(steps, i));
    text_addf(out, "#[Mean = %.3f, Max = %.3f, Total count = %lld; in ms]\n",
              json_number_value(json_object_get(latency, "mean")),
              json_number_value(json_object_get(latency, "max")),
              (long long)json_integer_value(json_object_get(latency, "count")));
    json_decref(record);
}

void api_run_report(void *context, const struct http_request *request,
                    struct http_response *response)
{
    json_t *record = api_load_finished(context, request, response, "report");
    if (!record)
        return;
    response->content_type = "text/html; charset=utf-8";
    report_html_write(&response->body, record);
    json_decref(record);
}
