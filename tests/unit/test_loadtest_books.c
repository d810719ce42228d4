/* The ledger and the error table: whatever happens, each request is in one place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "loadtest/error_table.h"
#include "loadtest/load_stats.h"

static void test_balanced(void **state)
{
    (void)state;
    char why[128];
    struct ledger ledger = {.scheduled = 45, .sent = 37};
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        ledger.outcomes[i] = i + 1; /* 1 + … + 9 = 45, of them 9 dropped and 8 in flight */
    ledger.sent = 36;
    assert_int_equal(ledger_finished(&ledger), 28);
    assert_true(ledger_balances(&ledger, 28, 27, why, sizeof why));
    assert_false(ledger_balances(&ledger, 27, 27, why, sizeof why));
    assert_non_null(strstr(why, "latencies"));
    assert_false(ledger_balances(&ledger, 28, 28, why, sizeof why));
    assert_non_null(strstr(why, "explained"));
    ledger.scheduled++;
    assert_false(ledger_balances(&ledger, 28, 27, why, sizeof why));
    assert_non_null(strstr(why, "scheduled"));
    ledger.sent++;
    assert_false(ledger_balances(&ledger, 28, 27, why, sizeof why));
    assert_non_null(strstr(why, "sent"));
}

static void test_each_outcome_is_noticed(void **state)
{
    (void)state;
    char why[128];
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        struct ledger ledger = {.scheduled = 1, .sent = i != OUTCOME_DROPPED};
        uint64_t finished = i != OUTCOME_DROPPED && i != OUTCOME_IN_FLIGHT_AT_END;
        uint64_t failed = i != OUTCOME_OK && finished;
        assert_false(ledger_balances(&ledger, 0, 0, why, sizeof why)); /* lost */
        ledger.outcomes[i] = 1;
        assert_true(ledger_balances(&ledger, finished, failed, why, sizeof why));
        ledger.outcomes[i] = 2; /* counted twice */
        assert_false(ledger_balances(&ledger, finished, failed, why, sizeof why));
        assert_true(strlen(ledger_outcome_key((enum outcome)i)) > 0);
        assert_true(strlen(ledger_outcome_label((enum outcome)i)) > 0);
    }
}

static void test_ledgers_add(void **state)
{
    (void)state;
    struct ledger sum = {0};
    struct ledger part = {.scheduled = 3, .sent = 2};
    part.outcomes[OUTCOME_DROPPED] = 1;
    part.outcomes[OUTCOME_OK] = 2;
    ledger_merge(&sum, &part);
    ledger_merge(&sum, &part);
    assert_int_equal(sum.scheduled, 6);
    assert_int_equal(sum.sent, 4);
    assert_int_equal(sum.outcomes[OUTCOME_OK], 4);
    assert_int_equal(sum.outcomes[OUTCOME_DROPPED], 2);
}

static void test_latencies_by_outcome(void **state)
{
    (void)state;
    struct load_stats *stats = calloc(1, sizeof *stats);
    int64_t start = 5 * CLOCK_NS_PER_S;
    int64_t sent = start + 20 * CLOCK_NS_PER_MS;
    int64_t end = start + 100 * CLOCK_NS_PER_MS;
    load_stats_end(stats, OUTCOME_OK, true, start, sent, end);
    load_stats_end(stats, OUTCOME_HTTP_ERROR, true, start, sent, end);
    load_stats_end(stats, OUTCOME_TIMEOUT, false, start, sent, end);
    load_stats_end(stats, OUTCOME_CONNECT_ERROR, false, start, 0, end);
    load_stats_end(stats, OUTCOME_IN_FLIGHT_AT_END, false, start, sent, end);
    assert_int_equal(stats->response_all.count, 4);
    assert_int_equal(stats->response_all.max_us, 100000); /* from the intended start */
    assert_int_equal(stats->response_ok.count, 1);
    assert_int_equal(stats->service.count, 2);
    assert_int_equal(stats->service.max_us, 80000); /* from the send */
    assert_int_equal(stats->ledger.outcomes[OUTCOME_IN_FLIGHT_AT_END], 1);
    free(stats);
}

static struct error_row row_of(int status, const char *message, int64_t first_at_ns, const char *id)
{
    struct error_row row = {.outcome = OUTCOME_HTTP_ERROR,
                            .http_status = status,
                            .ecode = -500,
                            .count = 1,
                            .first_at_ns = first_at_ns};
    error_table_plain(row.message, sizeof row.message, message);
    error_table_plain(row.request_id, sizeof row.request_id, id);
    return row;
}

static void test_errors_by_key(void **state)
{
    (void)state;
    struct error_table *table = calloc(1, sizeof *table);
    struct error_row rows[] = {row_of(503, "a", 30, "third"), row_of(503, "a", 10, "first"),
                               row_of(503, "b", 5, "x"), row_of(504, "a", 5, "y"),
                               row_of(503, "a", 20, "second")};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        error_table_add(table, &rows[i]);
    struct error_row other = rows[0];
    other.outcome = OUTCOME_RESET;
    error_table_add(table, &other);
    other.ecode = -503;
    error_table_add(table, &other);
    assert_int_equal(table->row_count, 5);
    assert_int_equal(table->rows[0].count, 3);
    assert_int_equal(table->rows[0].first_at_ns, 10);
    assert_string_equal(table->rows[0].request_id, "first");
    assert_int_equal(error_table_total(table), 7);
    int64_t first_at_ns;
    assert_int_equal(error_table_matching(table, "a", &first_at_ns), 6);
    assert_int_equal(first_at_ns, 5);
    assert_int_equal(error_table_matching(table, "none", &first_at_ns), 0);
    assert_int_equal(first_at_ns, CLOCK_NEVER);
    free(table);
}

static void test_errors_overflow_into_other(void **state)
{
    (void)state;
    struct error_table *table = calloc(1, sizeof *table);
    struct error_table *whole = calloc(1, sizeof *whole);
    for (int i = 0; i < ERROR_TABLE_ROWS + 36; i++) {
        char message[32];
        snprintf(message, sizeof message, "message %d", i);
        struct error_row row = row_of(500, message, i, "");
        error_table_add(table, &row);
    }
    assert_int_equal(table->row_count, ERROR_TABLE_ROWS);
    assert_int_equal(table->other, 36);
    struct error_row known = row_of(500, "message 0", 0, "");
    error_table_add(table, &known); /* a full table still counts what it knows */
    assert_int_equal(table->rows[0].count, 2);
    assert_int_equal(table->other, 36);
    error_table_merge(whole, table);
    error_table_merge(whole, table);
    assert_int_equal(whole->other, 72);
    assert_int_equal(error_table_total(whole), 2 * error_table_total(table));
    error_table_sort(whole);
    assert_int_equal(whole->rows[0].count, 4);
    assert_int_equal(whole->rows[1].first_at_ns, 1);
    free(table);
    free(whole);
}

static void test_text_from_outside_is_made_plain(void **state)
{
    (void)state;
    char out[8];
    error_table_plain(out, sizeof out, "a\x1b[31m\xc3\xa9\nlong");
    assert_string_equal(out, "a?[31m?");
    error_table_plain(out, sizeof out, "");
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_balanced),
        cmocka_unit_test(test_each_outcome_is_noticed),
        cmocka_unit_test(test_ledgers_add),
        cmocka_unit_test(test_latencies_by_outcome),
        cmocka_unit_test(test_errors_by_key),
        cmocka_unit_test(test_errors_overflow_into_other),
        cmocka_unit_test(test_text_from_outside_is_made_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
