/*
 * What went wrong, by (outcome, HTTP status, ecode, message), with counts, the first time, its
 * request id and the counts over time. Fixed capacity: what finds no row is counted as "other". One
 * per thread, merged after join.
 */
#ifndef FLASHOVER_LOADTEST_BOOKS_ERROR_TABLE_H
#define FLASHOVER_LOADTEST_BOOKS_ERROR_TABLE_H

#include "loadtest/books/timeline.h"

#include <stddef.h>
#include <stdint.h>

#define ERROR_TABLE_ROWS      64
#define ERROR_MESSAGE_SIZE    192
#define ERROR_REQUEST_ID_SIZE 64

struct error_row {
    enum outcome outcome;
    int http_status; /* 0 where there was no answer */
    int ecode;       /* 0 where the answer had none */
    char message[ERROR_MESSAGE_SIZE];
    uint64_t count;
    int64_t first_at_ns;                    /* when it was seen, after the start of the run */
    char request_id[ERROR_REQUEST_ID_SIZE]; /* of the first; "" where there was none */
    uint32_t over_time[TIMELINE_SLOTS_MAX]; /* its count, by the timeline's slots */
};

struct error_table {
    struct error_row rows[ERROR_TABLE_ROWS];
    size_t row_count;
    uint64_t other; /* errors that found no row */
};

/* Copies text from outside so that it can be shown on a terminal and put into JSON: cut to size,
 * bytes other than printable ASCII as '?'. */
void error_table_plain(char *out, size_t out_size, const char *text);

/* Counts `row` (its counts, usually 1) into the row with the same key, or a new one. */
void error_table_add(struct error_table *table, const struct error_row *row);

void error_table_merge(struct error_table *into, const struct error_table *from);

/* The sum of all counts, "other" included. */
uint64_t error_table_total(const struct error_table *table);

/* Sorts by count, largest first, then by first time. */
void error_table_sort(struct error_table *table);

/* The sum of the counts of rows whose message contains `part`; *first_at_ns becomes the earliest
 * time among them, or CLOCK_NEVER. */
uint64_t error_table_matching(const struct error_table *table, const char *part,
                              int64_t *first_at_ns);

#endif
