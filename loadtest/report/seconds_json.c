#include "loadtest/report/seconds_json.h"

#include "common/check.h"
#include "common/json.h"

#define ADD(array, number) json_array_append_new(array, json_integer((json_int_t)(number)))

json_t *seconds_json_columns(void)
{
    static const char *const before[] = {"demanded", "due", "ended", "right", "within"};
    static const char *const after[] = {"slow",       "probed", "probed_wrong", "attempts",
                                        "lag_max_ms", "p50_ms", "p99_ms"};
    json_t *columns = json_array();
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++)
        json_array_append_new(columns, json_string(before[i]));
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        json_array_append_new(columns, json_string(ledger_outcome_key((enum outcome)i)));
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++)
        json_array_append_new(columns, json_string(after[i]));
    return columns;
}

json_t *seconds_json_row(const struct second_row *row)
{
    json_t *array = json_array();
    ADD(array, row->demanded);
    ADD(array, row->due);
    ADD(array, row->ended);
    ADD(array, row->right);
    ADD(array, row->within);
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        ADD(array, row->outcomes[i]);
    ADD(array, row->slow);
    ADD(array, row->probed);
    ADD(array, row->probed_wrong);
    ADD(array, row->attempts);
    json_array_append_new(array, json_real((double)row->lag_max_us / 1e3));
    json_array_append_new(array, json_real_or_null(second_percentile_ms(row, 50)));
    json_array_append_new(array, json_real_or_null(second_percentile_ms(row, 99)));
    return array;
}

json_t *seconds_json_build(const struct seconds *seconds, unsigned count)
{
    json_t *rows = json_array();
    assert(count <= seconds->count);
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(rows, seconds_json_row(&seconds->rows[i]));
    return json_pack("{s:o, s:o}", "columns", seconds_json_columns(), "rows", rows);
}
