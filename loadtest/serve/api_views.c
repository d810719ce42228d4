/*
 * What a finished run can be looked at as: over time, as a spectrum of percentiles, as a page.
 */
#include "common/check.h"
#include "common/options.h"
#include "loadtest/report/report_html.h"
#include "loadtest/report/seconds_json.h"
#include "loadtest/serve/api.h"

static json_t *pack_seconds(const char *id, unsigned from, unsigned final, json_t *rows)
{
    return json_pack("{s:s, s:i, s:i, s:o, s:o}", "id", id, "from", (int)from, "final", (int) final,
                     "columns", seconds_json_columns(), "rows", rows);
}

json_t *api_seconds_json(const char *id, struct run_seconds *seconds)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < seconds->count; i++)
        json_array_append_new(rows, seconds_json_row(&seconds->rows[i]));
    free(seconds->rows);
    return pack_seconds(id, seconds->from, seconds->final, rows);
}

/* The rows of a run that is over, from its record. */
static json_t *kept_seconds(const json_t *record, const char *id, unsigned from)
{
    const json_t *kept = json_object_get(json_object_get(record, "seconds"), "rows");
    unsigned count = (unsigned)json_array_size(kept);
    json_t *rows = json_array();
    for (size_t i = from; i < count; i++)
        json_array_append(rows, json_array_get(kept, i));
    return pack_seconds(id, from, count, rows);
}

/* ?from=N, 0 without it. False: that has been answered. */
static bool read_from(const struct http_request *request, struct http_response *response,
                      unsigned *from)
{
    const char *text;
    char *end;
    *from = 0;
    if (http_request_argument(request, "from", &text) == 0)
        return true;
    unsigned long number = strtoul(text, &end, 10);
    bool is_number = text[0] >= '0' && text[0] <= '9' && *end == '\0' && number <= SECONDS_MAX;
    if (!is_number)
        http_response_refuse(request, response, 400, "from: not in the range 0..14400");
    *from = (unsigned)number;
    return is_number;
}

void api_run_seconds(void *context, const struct http_request *request,
                     struct http_response *response)
{
    const struct api *api = context;
    struct run_seconds seconds;
    unsigned from;
    if (!read_from(request, response, &from))
        return;
    /* Before the record is read, as for the live figures. */
    enum run_control_outcome outcome =
        run_control_seconds(api->control, request->tail, from, &seconds);
    json_t *record = api_load(api, request, response);
    json_t *live = outcome == RUN_CONTROL_OK ? api_seconds_json(request->tail, &seconds) : NULL;
    if (record && outcome == RUN_CONTROL_TROUBLE)
        http_response_refuse(request, response, 503, "out of memory");
    else if (record)
        http_response_json(request, response,
                           live ? json_incref(live) : kept_seconds(record, request->tail, from));
    json_decref(live);
    json_decref(record);
}

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
