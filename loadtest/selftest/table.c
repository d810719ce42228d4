#include "loadtest/selftest/table.h"

#include "common/check.h"

#include <inttypes.h>
#include <math.h>

/* A number and its unit. With a tolerance it fits into a cell. */
#define NUMBER_SIZE 32

bool selftest_row(struct selftest_table *table, const char *figure, const char *expected,
                  const char *measured, bool ok)
{
    assert(table->count < SELFTEST_ROWS_MAX);
    struct selftest_row *row = &table->rows[table->count++];
    snprintf(row->figure, sizeof row->figure, "%s", figure);
    snprintf(row->expected, sizeof row->expected, "%s", expected);
    snprintf(row->measured, sizeof row->measured, "%s", measured);
    row->ok = ok;
    return ok;
}

/* Four digits; none after the point where there are more before it. */
static void number_text(char out[NUMBER_SIZE], double value, const char *unit)
{
    int digits = fabs(value) >= 1000 ? 0 : fabs(value) >= 100 ? 1 : 2;
    snprintf(out, NUMBER_SIZE, "%.*f%s%s", digits, value, *unit ? " " : "", unit);
}

bool selftest_near(struct selftest_table *table, const char *figure, double expected,
                   double tolerance, double measured, const char *unit)
{
    char left[NUMBER_SIZE];
    char right[NUMBER_SIZE];
    char both[SELFTEST_CELL];
    number_text(left, expected, unit);
    number_text(right, measured, unit);
    snprintf(both, sizeof both, "%s +-%.3g", left, tolerance);
    return selftest_row(table, figure, both, right, fabs(measured - expected) <= tolerance);
}

bool selftest_near_late(struct selftest_table *table, const char *figure, double expected,
                        double late, double tolerance, double measured, const char *unit)
{
    char left[NUMBER_SIZE];
    char right[NUMBER_SIZE];
    char both[SELFTEST_CELL];
    number_text(left, expected, "");
    number_text(right, measured, unit);
    snprintf(both, sizeof both, "%s %+.*f +-%.3g %s", left, fabs(late) < 10 ? 2 : 0, late,
             tolerance, unit);
    return selftest_row(table, figure, both, right, fabs(measured - expected - late) <= tolerance);
}

bool selftest_between(struct selftest_table *table, const char *figure, double low, double high,
                      double measured, const char *unit)
{
    char left[NUMBER_SIZE];
    char right[NUMBER_SIZE];
    char both[SELFTEST_CELL];
    bool has_top = isfinite(high);
    number_text(right, measured, unit);
    if (has_top)
        number_text(left, high, unit);
    else
        number_text(left, low, unit);
    if (has_top)
        snprintf(both, sizeof both, "%.6g..%s", low, left);
    else
        snprintf(both, sizeof both, ">= %s", left);
    return selftest_row(table, figure, both, right, measured >= low && measured <= high);
}

bool selftest_count(struct selftest_table *table, const char *figure, uint64_t expected,
                    uint64_t measured)
{
    char left[SELFTEST_CELL];
    char right[SELFTEST_CELL];
    snprintf(left, sizeof left, "%" PRIu64, expected);
    snprintf(right, sizeof right, "%" PRIu64, measured);
    return selftest_row(table, figure, left, right, expected == measured);
}

bool selftest_words(struct selftest_table *table, const char *figure, const char *expected,
                    const char *measured)
{
    return selftest_row(table, figure, expected, measured, strcmp(expected, measured) == 0);
}

void selftest_trouble(struct selftest_table *table, const char *why)
{
    selftest_row(table, "the test itself", "can be done", why, false);
}

bool selftest_holds(const struct selftest_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        if (!table->rows[i].ok)
            return false;
    return table->count > 0;
}

void selftest_table_write(struct text *out, const struct selftest_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct selftest_row *row = &table->rows[i];
        text_addf(out, "    %-38s  %-24s ", row->figure, row->expected);
        if (row->ok)
            text_addf(out, "%s\n", row->measured);
        else
            text_addf(out, "%-20s FAIL\n", row->measured);
    }
}

json_t *selftest_table_json(const struct selftest_table *table)
{
    json_t *array = json_array();
    for (size_t i = 0; i < table->count; i++) {
        const struct selftest_row *row = &table->rows[i];
        if (json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:b}", "figure", row->figure,
                                                   "expected", row->expected, "measured",
                                                   row->measured, "ok", row->ok))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}
