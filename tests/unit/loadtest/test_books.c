/* The ledger and the error table: each request is counted in exactly one place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "loadtest/books/error_table.h"
#include "loadtest/books/load_stats.h"
#include "loadtest/engine/retry_queue.h"

static void test_balanced(void **state)
{
    (void)state;
    char why[128];
    /* 1 + … + 9 = 45, of them 9 dropped and 8 in flight */
    struct ledger ledger = {.scheduled = 45,
                            .sent = 36,
                            .attempts = 40,
                            .retries = 4,
                            .outcomes = {[OUTCOME_OK] = 1,
                                         [OUTCOME_WRONG] = 2,
                                         [OUTCOME_HTTP_ERROR] = 3,
                                         [OUTCOME_PROTOCOL_ERROR] = 4,
                                         [OUTCOME_TIMEOUT] = 5,
                                         [OUTCOME_CONNECT_ERROR] = 6,
                                         [OUTCOME_RESET] = 7,
                                         [OUTCOME_IN_FLIGHT_AT_END] = 8,
                                         [OUTCOME_DROPPED] = 9}};
    assert_int_equal(ledger_answered(&ledger), 1 + 2 + 3);
    assert_true(ledger_balances(&ledger, 45, 27, why, sizeof why));
    assert_false(ledger_balances(&ledger, 44, 27, why, sizeof why));
    assert_non_null(strstr(why, "latencies"));
    assert_false(ledger_balances(&ledger, 45, 28, why, sizeof why));
    assert_non_null(strstr(why, "explained"));
    ledger.retries++;
    assert_false(ledger_balances(&ledger, 45, 27, why, sizeof why));
    assert_non_null(strstr(why, "attempts"));
    ledger.scheduled++;
    assert_false(ledger_balances(&ledger, 46, 27, why, sizeof why));
    assert_non_null(strstr(why, "scheduled"));
    ledger.sent++;
    assert_false(ledger_balances(&ledger, 46, 27, why, sizeof why));
    assert_non_null(strstr(why, "sent"));
}

static void test_each_outcome_is_noticed(void **state)
{
    (void)state;
    char why[128];
    for (size_t i = 0; i < OUTCOME_COUNT; i++) {
        uint64_t sent = i != OUTCOME_DROPPED;
        struct ledger ledger = {.scheduled = 1, .sent = sent, .attempts = sent};
        uint64_t failed = i != OUTCOME_OK && i != OUTCOME_DROPPED && i != OUTCOME_IN_FLIGHT_AT_END;
        assert_false(ledger_balances(&ledger, 1, 0, why, sizeof why)); /* lost */
        ledger.outcomes[i] = 1;
        assert_true(ledger_balances(&ledger, 1, failed, why, sizeof why));
        ledger.outcomes[i] = 2; /* counted twice */
        assert_false(ledger_balances(&ledger, 1, failed, why, sizeof why));
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

static struct load_stats *new_stats(void)
{
    struct load_stats *stats = malloc(sizeof *stats);
    assert_true(load_stats_init(stats, 20 * CLOCK_NS_PER_S));
    return stats;
}

static void free_stats(struct load_stats *stats)
{
    load_stats_destroy(stats);
    free(stats);
}

/* Due 5 s after the start, sent 20 ms late, first byte after 60 ms, over after 100 ms. */
static void end_as(struct load_stats *stats, enum outcome outcome)
{
    struct request_end end = {.outcome = outcome,
                              .start_ns = CLOCK_NS_PER_S,
                              .intended_ns = 6 * CLOCK_NS_PER_S,
                              .timeout_ns = 2 * CLOCK_NS_PER_S};
    end.sent_ns = end.intended_ns + 20 * CLOCK_NS_PER_MS;
    end.first_byte_ns = end.intended_ns + 60 * CLOCK_NS_PER_MS;
    end.at_ns = end.intended_ns + 100 * CLOCK_NS_PER_MS;
    load_stats_end(stats, &end);
}

static void test_latencies_by_outcome(void **state)
{
    (void)state;
    struct load_stats *stats = new_stats();
    end_as(stats, OUTCOME_OK);
    end_as(stats, OUTCOME_HTTP_ERROR);
    assert_int_equal(stats->response_all.max_us, 100000); /* from the intended start */
    assert_int_equal(stats->response_ok.count, 1);
    assert_int_equal(stats->service.count, 2);
    assert_int_equal(stats->service.max_us, 80000); /* from the send */
    assert_int_equal(stats->first_byte.max_us, 40000);
    assert_false(load_stats_is_censored(stats, 100));
    /* no answer: counts as at least the timeout, however early it ended */
    static const enum outcome unanswered[] = {OUTCOME_TIMEOUT, OUTCOME_CONNECT_ERROR, OUTCOME_RESET,
                                              OUTCOME_PROTOCOL_ERROR, OUTCOME_DROPPED};
    for (size_t i = 0; i < sizeof unanswered / sizeof unanswered[0]; i++)
        end_as(stats, unanswered[i]);
    assert_int_equal(stats->response_all.count, 7);
    assert_int_equal(stats->service.count, 2);
    assert_false(load_stats_is_censored(stats, 20));
    assert_true(load_stats_is_censored(stats, 50));
    assert_int_equal(histogram_percentile_us(&stats->response_all, 50), 2000000);
    /* stopped: at least its age; the true value may be anything above */
    end_as(stats, OUTCOME_IN_FLIGHT_AT_END);
    assert_true(load_stats_is_censored(stats, 1));
    const struct timeline *timeline = &stats->timeline;
    const struct timeline_slot *slot =
        &timeline->slots[timeline_slot_at(timeline, 5 * CLOCK_NS_PER_S + 100 * CLOCK_NS_PER_MS)];
    assert_int_equal(slot->response.count, 8);
    assert_int_equal(slot->outcomes[OUTCOME_OK], 1);
    free_stats(stats);
}

static void test_merged_is_as_if_recorded_together(void **state)
{
    (void)state;
    struct load_stats *whole = new_stats();
    struct load_stats *parts[4] = {new_stats(), new_stats(), new_stats(), new_stats()};
    struct load_stats *merged = new_stats();
    srandom(8);
    for (int i = 0; i < 20000; i++) {
        int64_t start_ns = CLOCK_NS_PER_S;
        int64_t due_ns = start_ns + random() % (10 * CLOCK_NS_PER_S);
        int64_t took_ns = random() % (3 * CLOCK_NS_PER_S);
        struct request_end end = {.outcome = random() % 10 ? OUTCOME_OK : OUTCOME_RESET,
                                  .start_ns = start_ns,
                                  .intended_ns = due_ns,
                                  .sent_ns = due_ns + 1,
                                  .first_byte_ns = due_ns + took_ns / 2,
                                  .at_ns = due_ns + took_ns,
                                  .timeout_ns = 5 * CLOCK_NS_PER_S};
        load_stats_end(whole, &end);
        load_stats_end(parts[i % 4], &end);
    }
    for (size_t i = 0; i < 4; i++)
        load_stats_merge(merged, parts[i]);
    assert_memory_equal(&merged->response_all, &whole->response_all, sizeof whole->response_all);
    assert_memory_equal(&merged->service, &whole->service, sizeof whole->service);
    assert_memory_equal(merged->timeline.slots, whole->timeline.slots,
                        whole->timeline.slot_count * sizeof whole->timeline.slots[0]);
    assert_memory_equal(&merged->ledger, &whole->ledger, sizeof whole->ledger);
    assert_int_equal(merged->censored_from_ns, whole->censored_from_ns);
    for (size_t i = 0; i < 4; i++)
        free_stats(parts[i]);
    free_stats(merged);
    free_stats(whole);
}

static void test_timeline_slots(void **state)
{
    (void)state;
    static const struct {
        int64_t span_s;
        double slot_s;
    } cases[] = {{1, 0.25}, {150, 0.25}, {151, 0.5}, {600, 1}, {3600, 10}, {86460, 300}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct timeline timeline;
        int64_t span_ns = cases[i].span_s * CLOCK_NS_PER_S;
        assert_true(timeline_init(&timeline, span_ns));
        assert_int_equal(timeline.slot_ns, (int64_t)(cases[i].slot_s * 1e9));
        assert_in_range(timeline.slot_count, 1, TIMELINE_SLOTS_MAX);
        assert_int_equal(timeline_slot_at(&timeline, -1), 0);
        assert_int_equal(timeline_slot_at(&timeline, timeline.slot_ns), timeline.slot_count > 1);
        assert_int_equal(timeline_slot_at(&timeline, 100 * span_ns), timeline.slot_count - 1);
        timeline_destroy(&timeline);
    }
}

static void test_coarse_histogram_is_within_3_percent(void **state)
{
    (void)state;
    for (int64_t us = 1; us < 60000000; us = us * 5 / 4 + 1) {
        struct coarse_histogram histogram = {{0}, 0};
        coarse_histogram_record_ns(&histogram, us * 1000);
        int64_t read_us = coarse_histogram_percentile_us(&histogram, 50);
        assert_in_range(read_us, us, us + us * 32 / 1000);
    }
}

static void test_retries_come_in_order(void **state)
{
    (void)state;
    struct retry_queue queue;
    assert_true(retry_queue_init(&queue, 500));
    assert_int_equal(retry_queue_next_ns(&queue), CLOCK_NEVER);
    static char places[500];
    srandom(3);
    for (size_t i = 0; i < 500; i++) /* pointers stand for exchanges; nothing follows them */
        retry_queue_push(&queue, random() % 1000, (struct exchange *)(void *)&places[i]);
    bool seen[500] = {false};
    int64_t last_ns = 0;
    for (size_t i = 0; i < 500; i++) {
        int64_t next_ns = retry_queue_next_ns(&queue);
        assert_true(next_ns >= last_ns);
        last_ns = next_ns;
        assert_null(retry_queue_pop_due(&queue, next_ns - 1));
        size_t place = (size_t)((char *)(void *)retry_queue_pop_due(&queue, next_ns) - places);
        assert_false(seen[place]);
        seen[place] = true;
    }
    assert_null(retry_queue_pop_due(&queue, CLOCK_NEVER));
    retry_queue_destroy(&queue);
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
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rows[i].over_time[rows[i].first_at_ns % 4] = 1;
        error_table_add(table, &rows[i]);
    }
    assert_int_equal(table->rows[0].over_time[2], 2); /* 10 and 30 */
    assert_int_equal(table->rows[0].over_time[0], 1);
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
    error_table_add(table, &known); /* a full table still counts known rows */
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
        cmocka_unit_test(test_merged_is_as_if_recorded_together),
        cmocka_unit_test(test_timeline_slots),
        cmocka_unit_test(test_coarse_histogram_is_within_3_percent),
        cmocka_unit_test(test_retries_come_in_order),
        cmocka_unit_test(test_errors_by_key),
        cmocka_unit_test(test_errors_overflow_into_other),
        cmocka_unit_test(test_text_from_outside_is_made_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
