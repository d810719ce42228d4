/* T7 and T9: the ledger and the defects of bodies against the books of the server that made them.
 */
#include "common/check.h"
#include "common/clock.h"
#include "loadtest/selftest/load.h"
#include "loadtest/selftest/scenes.h"
#include "loadtest/selftest/selftest.h"

/* What must hold whatever happened. */
static void close_books(struct selftest_table *table, const struct selftest_run *run,
                        const char *what)
{
    char figure[SELFTEST_CELL];
    const struct load_stats *stats = run->result.stats;
    const struct ledger *ledger = &stats->ledger;
    uint64_t sum = 0;
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        if (i != OUTCOME_DROPPED)
            sum += ledger->outcomes[i];
    snprintf(figure, sizeof figure, "%s: sent + dropped", what);
    selftest_count(table, figure, ledger->scheduled,
                   ledger->sent + ledger->outcomes[OUTCOME_DROPPED]);
    selftest_count(table, "  sum of the outcomes", ledger->sent, sum);
    selftest_count(table, "  seen by the server, or refused", ledger->attempts,
                   run->record->requests + ledger->outcomes[OUTCOME_CONNECT_ERROR]);
    selftest_count(table, "  latencies", ledger->scheduled, stats->response_all.count);
    selftest_count(table, "  service times", ledger_answered(ledger), stats->service.count);
    selftest_count(table, "  errors explained",
                   ledger->sent - ledger->outcomes[OUTCOME_OK] -
                       ledger->outcomes[OUTCOME_IN_FLIGHT_AT_END],
                   error_table_total(&stats->errors));
}

static uint64_t with_status(const struct load_stats *stats, int status)
{
    uint64_t count = 0;
    for (size_t i = 0; i < stats->errors.row_count; i++)
        if (stats->errors.rows[i].http_status == status)
            count += stats->errors.rows[i].count;
    return count;
}

/* Each kind of answer in its place: of each ten, three are right, two are 503. */
static void all_kinds(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    const struct selftest_load load = {
        .scene = &selftest_scene_mixed, .rate_per_s = 300, .duration_s = 2, .timeout_s = 1.5};
    static const struct {
        const char *figure;
        enum outcome outcome;
        enum stall_kind kinds[2];
        uint64_t count;
    } rows[] = {
        {"  ok", OUTCOME_OK, {STALL_RIGHT, STALL_RIGHT}, 180},
        {"  wrong", OUTCOME_WRONG, {STALL_WRONG, STALL_WRONG}, 60},
        {"  http_error", OUTCOME_HTTP_ERROR, {STALL_ERROR, STALL_ERROR}, 120},
        {"  protocol_error", OUTCOME_PROTOCOL_ERROR, {STALL_GARBAGE, STALL_GARBAGE}, 60},
        {"  reset", OUTCOME_RESET, {STALL_RESET, STALL_RESET}, 60},
        {"  timeout (no answer, or too late)", OUTCOME_TIMEOUT, {STALL_HOLE, STALL_LATE}, 120},
    };
    if (!selftest_load_run(&load, stop, table, &run))
        return;
    const struct ledger *ledger = &run.result.stats->ledger;
    close_books(table, &run, "all kinds");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint64_t *by_kind = run.record->by_kind;
        uint64_t served = by_kind[rows[i].kinds[0]];
        if (rows[i].kinds[1] != rows[i].kinds[0])
            served += by_kind[rows[i].kinds[1]];
        if (served != rows[i].count) /* then the server is not what the test takes it for */
            selftest_count(table, "the server's own books", rows[i].count, served);
        selftest_count(table, rows[i].figure, served, ledger->outcomes[rows[i].outcome]);
    }
    selftest_count(table, "  errors with status 503", run.record->by_kind[STALL_ERROR],
                   with_status(run.result.stats, 503));
    selftest_run_free(&run);
}

/* Twenty in flight at most, and each takes 300 ms: two thirds find no room. */
static void at_the_cap(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    struct stall_scene slow = selftest_scene_steady;
    slow.service_ns = 300 * CLOCK_NS_PER_MS;
    const struct selftest_load load = {
        .scene = &slow, .rate_per_s = 200, .duration_s = 1, .timeout_s = 5, .max_in_flight = 20};
    if (!selftest_load_run(&load, stop, table, &run))
        return;
    const struct ledger *ledger = &run.result.stats->ledger;
    close_books(table, &run, "20 in flight at most");
    selftest_between(table, "  dropped, of 200", 100, 140,
                     (double)ledger->outcomes[OUTCOME_DROPPED], "");
    selftest_count(table, "  ok", run.record->by_kind[STALL_RIGHT], ledger->outcomes[OUTCOME_OK]);
    selftest_run_free(&run);
}

static void choose_odd_holes(uint64_t number, struct stall_answer *answer)
{
    if (number % 2 == 1)
        answer->kind = STALL_HOLE;
}

/* All is sent within 0.5 s; when the run is stopped after 1 s, half of it has no answer yet. */
static void stopped(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    struct stall_scene holes = selftest_scene_steady;
    holes.choose = choose_odd_holes;
    const struct selftest_load load = {
        .scene = &holes, .rate_per_s = 200, .duration_s = 0.5, .timeout_s = 30, .stop_after_s = 1};
    if (!selftest_load_run(&load, stop, table, &run))
        return;
    close_books(table, &run, "stopped after 1 s");
    selftest_count(table, "  in flight at the end", run.record->by_kind[STALL_HOLE],
                   run.result.stats->ledger.outcomes[OUTCOME_IN_FLIGHT_AT_END]);
    selftest_run_free(&run);
}

static void choose_error(uint64_t number, struct stall_answer *answer)
{
    if (number % 3 == 1)
        answer->kind = STALL_ERROR;
}

/* A 503 is tried once more, which may get another one: then it counts. */
static void retried(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    struct stall_scene errors = selftest_scene_steady;
    errors.choose = choose_error;
    const struct selftest_load load = {
        .scene = &errors, .rate_per_s = 200, .duration_s = 0.5, .timeout_s = 5, .retries = 1};
    if (!selftest_load_run(&load, stop, table, &run))
        return;
    const struct ledger *ledger = &run.result.stats->ledger;
    close_books(table, &run, "503 tried again");
    selftest_count(table, "  503s retried, or final", run.record->by_kind[STALL_ERROR],
                   ledger->retries + ledger->outcomes[OUTCOME_HTTP_ERROR]);
    selftest_run_free(&run);
}

/* Nobody listens: the port was free a moment ago, and its server is gone. */
static void refused(struct selftest_table *table, const struct stop *stop)
{
    char why[SELFTEST_WHY];
    struct load_settings settings;
    struct load_result result;
    struct stop own;
    const struct load_watch nobody = {0};
    const struct selftest_load load = {
        .scene = &selftest_scene_steady, .rate_per_s = 200, .duration_s = 0.25, .timeout_s = 1};
    struct stall_server *server = stall_server_start(load.scene, 0, why, sizeof why);
    bool done = false;
    if (server) {
        uint16_t port = stall_server_port(server);
        bool known = selftest_load_settings(&load, port, &settings, why, sizeof why);
        stall_server_free(server);
        if (known && stop_init(&own)) {
            done = load_run_execute(&settings, NULL, 0, &own, &nobody, &result, why, sizeof why);
            stop_destroy(&own);
        }
    }
    if (!done || stop_requested(stop)) {
        selftest_trouble(table, done ? "stopped by a signal" : why);
    } else {
        selftest_count(table, "nobody listens: refused", 50,
                       result.stats->ledger.outcomes[OUTCOME_CONNECT_ERROR]);
        selftest_words(table, "  books", "balance", result.balanced ? "balance" : "do not");
    }
    if (done)
        load_result_free(&result);
}

void selftest_t7(struct selftest_table *table, const struct stop *stop)
{
    all_kinds(table, stop);
    at_the_cap(table, stop);
    stopped(table, stop);
    retried(table, stop);
    refused(table, stop);
}

/* Of each twenty answers one lacks 2 entries, one has a foreign one, one has 3 twice, one has 4
 * corrupt ones, and one lacks 1 and has a foreign one: of 400 answers, 100 are wrong. */
void selftest_t9(struct selftest_table *table, const struct stop *stop)
{
    struct selftest_run run;
    const struct selftest_load load = {
        .scene = &selftest_scene_corrupt, .rate_per_s = 200, .duration_s = 2, .timeout_s = 5};
    const struct feed_defects expected = {
        .lost = 60, .foreign = 40, .duplicate = 60, .corrupt = 80};
    if (!selftest_load_run(&load, stop, table, &run))
        return;
    selftest_compare_defects(table, 100, &expected, &run);
    selftest_count(table, "right answers", 300, run.result.stats->ledger.outcomes[OUTCOME_OK]);
    selftest_run_free(&run);
}

void selftest_compare_defects(struct selftest_table *table, uint64_t wrong,
                              const struct feed_defects *expected, const struct selftest_run *run)
{
    const struct load_stats *stats = run->result.stats;
    const struct feed_defects *found = &stats->defects;
    selftest_count(table, "wrong answers", wrong, stats->ledger.outcomes[OUTCOME_WRONG]);
    selftest_count(table, "  as the server has it", run->record->by_kind[STALL_WRONG],
                   stats->ledger.outcomes[OUTCOME_WRONG]);
    selftest_count(table, "entries lost", expected->lost, found->lost);
    selftest_count(table, "  foreign", expected->foreign, found->foreign);
    selftest_count(table, "  duplicate", expected->duplicate, found->duplicate);
    selftest_count(table, "  corrupt", expected->corrupt, found->corrupt);
    selftest_count(table, "  malformed bodies", expected->malformed, found->malformed);
    selftest_words(table, "  as the server has it", "yes",
                   memcmp(found, &run->record->defects, sizeof *found) == 0 ? "yes" : "no");
}
