/*
 * What a selftest expects beside what it measured, a row a figure. A row is right or it is not:
 * there is no third way for it. Used by one thread.
 */
#ifndef FLASHOVER_LOADTEST_SELFTEST_TABLE_H
#define FLASHOVER_LOADTEST_SELFTEST_TABLE_H

#include "common/text.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SELFTEST_ROWS_MAX 64
#define SELFTEST_CELL     48
#define SELFTEST_WHY      256

struct selftest_row {
    char figure[SELFTEST_CELL];
    char expected[SELFTEST_CELL];
    char measured[SELFTEST_CELL];
    bool ok;
};

struct selftest_table {
    struct selftest_row rows[SELFTEST_ROWS_MAX];
    size_t count;
    /* Why the figures are not to be believed, as the load tester itself says; "" when they are. */
    char invalid[SELFTEST_WHY];
    /* The most that the machine kept the server or the load tester waiting. */
    int64_t disturbed_ns;
};

/* A row of the caller's own making. Each of these returns `ok`. */
bool selftest_row(struct selftest_table *table, const char *figure, const char *expected,
                  const char *measured, bool ok);

/* `measured` must be within `tolerance` of `expected`; `unit` goes behind the numbers ("ms"). */
bool selftest_near(struct selftest_table *table, const char *figure, double expected,
                   double tolerance, double measured, const char *unit);

/* The same, where the server's own books say that the machine made it `late` more than on paper. */
bool selftest_near_late(struct selftest_table *table, const char *figure, double expected,
                        double late, double tolerance, double measured, const char *unit);

/* It must be low..high. */
bool selftest_between(struct selftest_table *table, const char *figure, double low, double high,
                      double measured, const char *unit);

/* Two counts, or two texts, must be the same. */
bool selftest_count(struct selftest_table *table, const char *figure, uint64_t expected,
                    uint64_t measured);
bool selftest_words(struct selftest_table *table, const char *figure, const char *expected,
                    const char *measured);

/* The test could not be done: a row that is not right. */
void selftest_trouble(struct selftest_table *table, const char *why);

/* Whether there are rows, and all of them are right. */
bool selftest_holds(const struct selftest_table *table);

/* Appends the rows, at most 100 columns wide. */
void selftest_table_write(struct text *out, const struct selftest_table *table);

/* The rows as a new JSON array; NULL when memory ran out. */
json_t *selftest_table_json(const struct selftest_table *table) __attribute__((warn_unused_result));

#endif
