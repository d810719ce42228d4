#include "loadtest/matrix/report.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/json.h"
#include "loadtest/judge/verdict.h"
#include "loadtest/matrix/verdict.h"
#include "loadtest/report/run_json.h"
#include "loadtest/report/run_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>

#define WIDTH        98
#define NAME_COLUMNS 30
#define CELL_COLUMNS 17

/* A figure of one cell, as text. */
struct figure {
    char text[40];
};

static void put(struct figure *figure, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put(struct figure *figure, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(figure->text, sizeof figure->text, format, arguments);
    va_end(arguments);
}

static void put_count(struct figure *figure, uint64_t count)
{
    put(figure, "%" PRIu64, count);
}

static void put_pair_of_numbers(struct figure *figure, double left, double right, const char *unit)
{
    struct figure both[2] = {{""}, {""}};
    double values[2] = {left, right};
    for (int i = 0; i < 2; i++) {
        if (isnan(values[i]))
            put(&both[i], "-");
        else if (isinf(values[i]))
            put(&both[i], "never");
        else if (values[i] >= 1000)
            put(&both[i], "%.0f", values[i]);
        else
            put(&both[i], "%.3g", values[i]);
    }
    bool same_word = strcmp(both[0].text, both[1].text) == 0 && !isfinite(left);
    if (same_word)
        put(figure, "%.10s", both[0].text);
    else
        put(figure, "%.10s / %.10s%.8s", both[0].text, both[1].text, unit);
}

/* One percentile in the unit that its neighbour shares: "6.6", "905", ">=5000". */
static void put_percentile(struct figure *figure, const struct histogram *histogram, double percent,
                           double us_per_unit, bool censored)
{
    double value = (double)histogram_percentile_us(histogram, percent) / us_per_unit;
    put(figure, "%s%.*f", censored ? ">=" : "", value < 99.95 ? 1 : 0, value);
}

/* "p50 / p99 unit"; ">=" where unanswered requests make it a lower bound: then they are those of
 * `censored`, else that is NULL. */
static void put_percentiles(struct figure *figure, const struct histogram *histogram,
                            const struct load_stats *censored)
{
    static const double percents[] = {50, 99};
    struct figure both[2] = {{""}, {""}};
    bool is_long = histogram_percentile_us(histogram, 99) >= 10000000;
    if (histogram->count == 0) {
        put(figure, "-");
        return;
    }
    for (size_t i = 0; i < 2; i++)
        put_percentile(&both[i], histogram, percents[i], is_long ? 1e6 : 1e3,
                       censored && load_stats_is_censored(censored, percents[i]));
    put(figure, "%.10s / %.10s %s", both[0].text, both[1].text, is_long ? "s" : "ms");
}

enum row {
    ROW_OK,
    ROW_WRONG,
    ROW_POOL_TIMEOUT,
    ROW_WRITE_DEADLINE,
    ROW_READ_DEADLINE,
    ROW_OTHER,
    ROW_REFUSED,
    ROW_CRASHES,
    ROW_LATENCY_OK,
    ROW_LATENCY_ALL,
    ROW_FIRST_TIMEOUT,
    ROW_ITEM_POOL_TIMEOUT,
    ROW_ITEM_WRITE_DEADLINE,
    ROW_ITEM_READ_DEADLINE,
    ROW_HOLD,
    ROW_CAPACITY,
    ROW_SERVED,
    ROW_ALONE,
    ROW_FASTEST,
    ROW_FIRST_PREDICTED,
    ROW_FIRST_MEASURED
};

static void put_first_timeout(struct figure *figure, const struct matrix_figures *figures)
{
    if (figures->first_pool_timeout_ns == CLOCK_NEVER)
        put(figure, "-");
    else
        put(figure, "%.2f s", (double)figures->first_pool_timeout_ns / (double)CLOCK_NS_PER_S);
}

static void put_item_failures(struct figure *figure, const struct matrix_cell *cell,
                              enum item_failure kind)
{
    if (cell->result.has_service)
        put(figure, "%.0f", cell->result.service.item_failures[kind]);
    else
        put(figure, "-");
}

static void put_count_figure(struct figure *figure, const struct matrix_cell *cell, enum row row)
{
    const struct matrix_figures *figures = &cell->figures;
    switch (row) {
    case ROW_OK:
        put(figure, "%" PRIu64 " of %" PRIu64, figures->ok, figures->scheduled);
        break;
    case ROW_WRONG:
        put_count(figure, figures->wrong);
        break;
    case ROW_POOL_TIMEOUT:
        put_count(figure, figures->pool_timeouts);
        break;
    case ROW_WRITE_DEADLINE:
        put_count(figure, figures->write_deadlines);
        break;
    case ROW_READ_DEADLINE:
        put_count(figure, figures->read_deadlines);
        break;
    case ROW_OTHER:
        put_count(figure, figures->other_errors);
        break;
    case ROW_REFUSED:
        put_count(figure, figures->refused_or_reset);
        break;
    case ROW_CRASHES:
        put_count(figure, figures->crashes);
        break;
    case ROW_ITEM_POOL_TIMEOUT:
        put_item_failures(figure, cell, ITEM_FAILURE_CHECKOUT_TIMEOUT);
        break;
    case ROW_ITEM_WRITE_DEADLINE:
        put_item_failures(figure, cell, ITEM_FAILURE_WRITE_DEADLINE);
        break;
    case ROW_ITEM_READ_DEADLINE:
        put_item_failures(figure, cell, ITEM_FAILURE_READ_DEADLINE);
        break;
    default:
        assert(false && "a row of counts");
    }
}

static void put_figure(struct figure *figure, const struct matrix *matrix,
                       const struct matrix_cell *cell, enum row row)
{
    const struct load_stats *stats = cell->result.stats;
    switch (row) {
    case ROW_LATENCY_OK:
        put_percentiles(figure, &stats->response_ok, NULL);
        break;
    case ROW_LATENCY_ALL:
        put_percentiles(figure, &stats->response_all, stats);
        break;
    case ROW_FIRST_TIMEOUT:
    case ROW_FIRST_MEASURED:
        put_first_timeout(figure, &cell->figures);
        break;
    case ROW_HOLD:
        put_pair_of_numbers(figure, cell->nominal_hold_s * 1e3, cell->measured_hold_s * 1e3, " ms");
        break;
    case ROW_CAPACITY:
        put_pair_of_numbers(figure, cell->nominal.capacity_per_s, cell->measured.capacity_per_s,
                            " /s");
        break;
    case ROW_SERVED:
        put(figure, "%.1f /s", (double)cell->figures.ok / matrix->plan.load.schedule.duration_s);
        break;
    case ROW_ALONE:
        put_pair_of_numbers(figure, cell->nominal.alone_s * 1e3, cell->measured.alone_s * 1e3,
                            " ms");
        break;
    case ROW_FASTEST: {
        char fastest[RUN_REPORT_LATENCY_SIZE];
        run_report_latency(fastest, &stats->response_ok, 0, false);
        put(figure, "%s", fastest);
        break;
    }
    case ROW_FIRST_PREDICTED:
        put_pair_of_numbers(figure, cell->nominal.first_timeout_s, cell->measured.first_timeout_s,
                            " s");
        break;
    default:
        put_count_figure(figure, cell, row);
    }
}

static void add_row(struct text *out, const struct matrix *matrix, const char *name, enum row row)
{
    text_addf(out, "%-*s", NAME_COLUMNS, name);
    for (size_t i = 0; i < MATRIX_CELLS; i++) {
        struct figure figure = {""};
        put(&figure, "-");
        if (matrix->cells[i].done)
            put_figure(&figure, matrix, &matrix->cells[i], row);
        text_addf(out, "%*s", CELL_COLUMNS, figure.text);
    }
    text_add(out, "\n");
}

static void add_rule(struct text *out)
{
    for (size_t i = 0; i < NAME_COLUMNS + MATRIX_CELLS * CELL_COLUMNS; i++)
        text_add(out, "-");
    text_add(out, "\n");
}

static void add_table(struct text *out, const struct matrix *matrix)
{
    text_addf(out, "%-*s", NAME_COLUMNS, "");
    for (size_t i = 0; i < MATRIX_CELLS; i++)
        text_addf(out, "%*s", CELL_COLUMNS, matrix_cell_kinds[i].name);
    text_add(out, "\n");
    add_rule(out);
    add_row(out, matrix, "right answers", ROW_OK);
    add_row(out, matrix, "wrong answers", ROW_WRONG);
    add_row(out, matrix, "pool timeouts        503/-500", ROW_POOL_TIMEOUT);
    add_row(out, matrix, "deadline, write      504/-500", ROW_WRITE_DEADLINE);
    add_row(out, matrix, "deadline, read       504/-500", ROW_READ_DEADLINE);
    add_row(out, matrix, "other errors", ROW_OTHER);
    add_row(out, matrix, "refused or reset", ROW_REFUSED);
    add_row(out, matrix, "crashes of the service", ROW_CRASHES);
    add_row(out, matrix, "p50 / p99, right answers", ROW_LATENCY_OK);
    add_row(out, matrix, "p50 / p99, all", ROW_LATENCY_ALL);
    text_add(out, "items failed, as the service counts them (an answer names only the first):\n");
    add_row(out, matrix, "  pool timeout", ROW_ITEM_POOL_TIMEOUT);
    add_row(out, matrix, "  deadline, write", ROW_ITEM_WRITE_DEADLINE);
    add_row(out, matrix, "  deadline, read", ROW_ITEM_READ_DEADLINE);
}

static void add_predictions(struct text *out, const struct matrix *matrix)
{
    text_add(out,
             "\nOn paper, from the query latency as set / as measured (hand-over to check-in), "
             "and as it was:\n");
    add_rule(out);
    add_row(out, matrix, "h, a connection in use", ROW_HOLD);
    add_row(out, matrix, "capacity, predicted", ROW_CAPACITY);
    add_row(out, matrix, "  right answers, measured", ROW_SERVED);
    add_row(out, matrix, "a request alone, predicted", ROW_ALONE);
    add_row(out, matrix, "  fastest right, measured", ROW_FASTEST);
    add_row(out, matrix, "first pool timeout, predicted", ROW_FIRST_PREDICTED);
    add_row(out, matrix, "  first pool timeout, measured", ROW_FIRST_MEASURED);
}

static void add_wrapped(struct text *out, const char *indent, const char *sentence)
{
    size_t column = 0;
    while (*sentence) {
        size_t word = strcspn(sentence, " ");
        if (column > 0 && strlen(indent) + column + 1 + word > WIDTH) {
            text_addf(out, "\n%s", indent);
            column = 0;
        } else if (column > 0) {
            text_add(out, " ");
            column++;
        }
        text_append(out, sentence, word);
        column += word;
        sentence += word + (sentence[word] == ' ');
    }
    text_add(out, "\n");
}

static void add_sentences(struct text *out, const struct matrix *matrix)
{
    text_add(out, "\nWhat happened\n");
    for (size_t i = 0; i < MATRIX_CELLS; i++) {
        const struct matrix_cell *cell = &matrix->cells[i];
        struct text sentence = {0};
        if (cell->done)
            matrix_cell_explain(&sentence, cell, &matrix->plan.load);
        text_addf(out, "  %-16s ", matrix_cell_kinds[i].name);
        add_wrapped(out, "                   ",
                    cell->done && sentence.data ? sentence.data : "Did not run.");
        text_clear(&sentence);
    }
}

bool matrix_report_passed(const struct matrix *matrix)
{
    for (size_t i = 0; i < MATRIX_CELLS; i++)
        if (!matrix->cells[i].done || matrix->cells[i].failure[0])
            return false;
    return true;
}

static void add_verdict(struct text *out, const struct matrix *matrix)
{
    text_add(out, "\n");
    if (matrix_report_passed(matrix)) {
        text_add(out, "PASS: all four cells came out as the physics says.\n");
        return;
    }
    for (size_t i = 0; i < MATRIX_CELLS; i++) {
        const struct matrix_cell *cell = &matrix->cells[i];
        if (!cell->done)
            text_addf(out, "NOT RUN: %s\n", matrix_cell_kinds[i].name);
        else if (cell->failure[0])
            text_addf(out, "%s: %s: %s\n", cell->result.stop_reason ? "STOPPED" : "FAIL",
                      cell->kind->name, cell->failure);
    }
}

void matrix_report_write(struct text *out, const struct matrix *matrix)
{
    const struct load_settings *settings = &matrix->plan.load;
    const struct service_sample *last = NULL;
    for (size_t i = 0; i < MATRIX_CELLS; i++)
        if (matrix->cells[i].done && matrix->cells[i].result.has_service)
            last = &matrix->cells[i].result.service.last;
    text_addf(out,
              "The same load on bug and fix: %.4g req/s for %.4g s a cell, open loop, %u items "
              "a request",
              schedule_mean_rate(&settings->schedule), settings->schedule.duration_s,
              settings->items);
    if (last && !isnan(last->pool_max))
        text_addf(out, "\npool of %.0f, deadline %.3g s, admission=blind as in the incident",
                  last->pool_max, last->request_timeout_s);
    text_add(out, "\n\n");
    add_table(out, matrix);
    add_predictions(out, matrix);
    add_sentences(out, matrix);
    add_verdict(out, matrix);
}

static json_t *prediction_json(double hold_s, const struct prediction *prediction)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "hold_ms", json_real_or_null(hold_s * 1e3),
                     "capacity_per_s", json_real_or_null(prediction->capacity_per_s), "alone_ms",
                     json_real_or_null(prediction->alone_s * 1e3), "first_timeout_s",
                     json_real_or_null(prediction->first_timeout_s));
}

static json_t *figures_json(const struct matrix_figures *figures)
{
    double first_s = figures->first_pool_timeout_ns == CLOCK_NEVER
                         ? (double)NAN
                         : (double)figures->first_pool_timeout_ns / (double)CLOCK_NS_PER_S;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:o}", "scheduled",
        (json_int_t)figures->scheduled, "ok", (json_int_t)figures->ok, "wrong",
        (json_int_t)figures->wrong, "pool_timeouts", (json_int_t)figures->pool_timeouts,
        "write_deadlines", (json_int_t)figures->write_deadlines, "read_deadlines",
        (json_int_t)figures->read_deadlines, "other_errors", (json_int_t)figures->other_errors,
        "refused_or_reset", (json_int_t)figures->refused_or_reset, "crashes", (int)figures->crashes,
        "first_pool_timeout_s", json_real_or_null(first_s));
}

static json_t *cell_json(const struct matrix *matrix, const struct matrix_cell *cell)
{
    struct text sentence = {0};
    matrix_cell_explain(&sentence, cell, &matrix->plan.load);
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:o, s:o, s:o, s:o}", "name", cell->kind->name,
                  "query", cell->kind->query, "map", cell->kind->map, "as_expected",
                  !cell->failure[0], "failure", cell->failure, "explanation",
                  sentence.data ? sentence.data : "", "figures", figures_json(&cell->figures),
                  "prediction_nominal", prediction_json(cell->nominal_hold_s, &cell->nominal),
                  "prediction_measured", prediction_json(cell->measured_hold_s, &cell->measured),
                  "result", run_json_build(&matrix->plan, &cell->result));
    text_clear(&sentence);
    return root;
}

json_t *matrix_report_json(const struct matrix *matrix)
{
    json_t *cells = json_array();
    for (size_t i = 0; i < MATRIX_CELLS; i++)
        if (matrix->cells[i].done)
            json_array_append_new(cells, cell_json(matrix, &matrix->cells[i]));
    return json_pack("{s:s, s:f, s:f, s:b, s:o}", "url", matrix->plan.load.target.url, "rate",
                     schedule_mean_rate(&matrix->plan.load.schedule), "cell_duration_s",
                     matrix->plan.load.schedule.duration_s, "passed", matrix_report_passed(matrix),
                     "cells", cells);
}
