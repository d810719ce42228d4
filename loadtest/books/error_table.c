#include "loadtest/books/error_table.h"

#include "common/check.h"
#include "common/clock.h"

void error_table_plain(char *out, size_t out_size, const char *text)
{
    size_t used = 0;
    assert(out_size > 0);
    for (; *text && used + 1 < out_size; text++)
        out[used++] = *text >= 0x20 && *text < 0x7f ? *text : '?';
    out[used] = '\0';
}

static bool same_key(const struct error_row *a, const struct error_row *b)
{
    return a->outcome == b->outcome && a->http_status == b->http_status && a->ecode == b->ecode &&
           strcmp(a->message, b->message) == 0;
}

void error_table_add(struct error_table *table, const struct error_row *row)
{
    assert(row->count > 0 && row->outcome < OUTCOME_COUNT);
    for (size_t i = 0; i < table->row_count; i++) {
        struct error_row *known = &table->rows[i];
        if (!same_key(known, row))
            continue;
        known->count += row->count;
        for (size_t j = 0; j < TIMELINE_SLOTS_MAX; j++)
            known->over_time[j] += row->over_time[j];
        if (row->first_at_ns < known->first_at_ns) {
            known->first_at_ns = row->first_at_ns;
            memcpy(known->request_id, row->request_id, sizeof known->request_id);
        }
        return;
    }
    if (table->row_count < ERROR_TABLE_ROWS)
        table->rows[table->row_count++] = *row;
    else
        table->other += row->count;
}

void error_table_merge(struct error_table *into, const struct error_table *from)
{
    uint64_t sum = error_table_total(into) + error_table_total(from);
    assert(into != from);
    for (size_t i = 0; i < from->row_count; i++)
        error_table_add(into, &from->rows[i]);
    into->other += from->other;
    assert(error_table_total(into) == sum);
}

uint64_t error_table_total(const struct error_table *table)
{
    uint64_t total = table->other;
    for (size_t i = 0; i < table->row_count; i++)
        total += table->rows[i].count;
    return total;
}

static int compare_rows(const void *left, const void *right)
{
    const struct error_row *a = left;
    const struct error_row *b = right;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return (a->first_at_ns > b->first_at_ns) - (a->first_at_ns < b->first_at_ns);
}

void error_table_sort(struct error_table *table)
{
    qsort(table->rows, table->row_count, sizeof table->rows[0], compare_rows);
}

uint64_t error_table_matching(const struct error_table *table, const char *part,
                              int64_t *first_at_ns)
{
    uint64_t count = 0;
    *first_at_ns = CLOCK_NEVER;
    for (size_t i = 0; i < table->row_count; i++) {
        const struct error_row *row = &table->rows[i];
        if (!strstr(row->message, part))
            continue;
        count += row->count;
        if (row->first_at_ns < *first_at_ns)
            *first_at_ns = row->first_at_ns;
    }
    return count;
}
