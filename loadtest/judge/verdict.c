#include "loadtest/judge/verdict.h"

#include "common/check.h"
#include "common/clock.h"
#include "loadtest/judge/generator_check.h"

#include <inttypes.h>
#include <stdarg.h>

/* Where the sentences go. */
struct voice {
    void (*add)(void *argument, const char *sentence);
    void *argument;
};

static void say(const struct voice *voice, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(const struct voice *voice, const char *format, ...)
{
    char sentence[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    voice->add(voice->argument, sentence);
}

bool verdict_passed(const struct load_stats *stats, const struct slo_list *slos)
{
    const struct ledger *ledger = &stats->ledger;
    char measured[96];
    if (ledger->outcomes[OUTCOME_OK] == 0)
        return false;
    if (ledger->outcomes[OUTCOME_WRONG] > 0 && !slo_names(slos, OUTCOME_WRONG))
        return false;
    for (size_t i = 0; i < slos->count; i++)
        if (!slo_holds(&slos->items[i], stats, measured, sizeof measured))
            return false;
    return true;
}

static void ignore(void *argument, const char *sentence)
{
    (void)argument;
    (void)sentence;
}

enum exit_code verdict_exit_code(const struct load_result *result, const struct test_plan *plan)
{
    if (!result->balanced)
        return EXIT_TROUBLE;
    if (result->stop_reason)
        return result->stop_reason == STOP_BY_REST ? EXIT_STOPPED_BY_REST : EXIT_SIGNAL;
    if (!generator_check(result->stats, ignore, NULL))
        return EXIT_INVALID;
    return verdict_passed(result->stats, &plan->slos) ? EXIT_PASS : EXIT_THRESHOLD;
}

const char *verdict_word(enum exit_code code)
{
    switch (code) {
    case EXIT_PASS:
        return "PASS";
    case EXIT_THRESHOLD:
        return "FAIL";
    case EXIT_INVALID:
        return "INVALID";
    case EXIT_SIGNAL:
    case EXIT_STOPPED_BY_REST:
        return "STOPPED";
    case EXIT_TROUBLE:
    case EXIT_USAGE:
    case EXIT_REST_CANNOT_START:
        break;
    }
    return "BROKEN";
}

static double seconds(int64_t ns)
{
    return (double)ns / (double)CLOCK_NS_PER_S;
}

/* Refused and reset connections mean a crash, a limit or a proxy: the start time tells which. */
static void explain_connections(const struct voice *voice, const struct load_result *result)
{
    const uint64_t *outcomes = result->stats->ledger.outcomes;
    uint64_t refused = outcomes[OUTCOME_CONNECT_ERROR];
    uint64_t reset = outcomes[OUTCOME_RESET];
    const struct scrape_result *service = &result->service;
    if (result->has_service && service->restarts > 0)
        say(voice,
            "The service crashed, it was not just slow: its process was new %u time%s (first seen "
            "%.1f s into the run); %" PRIu64 " requests were refused and %" PRIu64 " cut off.",
            service->restarts, service->restarts == 1 ? "" : "s",
            seconds(service->first_restart_at_ns - result->start_ns), refused, reset);
    if (result->has_service && service->down_at_end)
        say(voice, "The service went away: /metrics answered before and does not any more.");
    if (refused + reset == 0 || (result->has_service && service->restarts > 0))
        return;
    if (result->has_service && !service->down_at_end)
        say(voice,
            "%" PRIu64 " requests were refused and %" PRIu64 " cut off, yet the service is the "
            "same process as before: no crash; look for a limit on connections.",
            refused, reset);
    else if (!result->has_service)
        say(voice,
            "%" PRIu64 " requests were refused and %" PRIu64 " cut off. Whether the service "
            "crashed cannot be told without its /metrics (--admin-url).",
            refused, reset);
}

static void explain_errors(const struct voice *voice, const struct load_result *result,
                           const struct load_settings *settings)
{
    const struct load_stats *stats = result->stats;
    const uint64_t *outcomes = stats->ledger.outcomes;
    int64_t first_ns;
    int64_t first_write_ns;
    uint64_t checkouts = error_table_matching(&stats->errors, MESSAGE_CHECKOUT_TIMEOUT, &first_ns);
    uint64_t writes = error_table_matching(&stats->errors, MESSAGE_WRITE_DEADLINE, &first_write_ns);
    if (first_write_ns < first_ns)
        first_ns = first_write_ns;
    if (checkouts + writes > 0)
        say(voice,
            "The connection pool ran dry: %" PRIu64 " requests failed at the checkout and %" PRIu64
            " got a connection too late to use it, the first after %.1f s.",
            checkouts, writes, seconds(first_ns));
    if (outcomes[OUTCOME_TIMEOUT] > 0)
        say(voice, "%" PRIu64 " requests had no answer after %.4g s%s.", outcomes[OUTCOME_TIMEOUT],
            seconds(settings->timeout_ns),
            result->has_service && result->service.restarts == 0 && !result->service.down_at_end
                ? ", while the process stayed the same: slow, not dead"
                : "");
    /* a message may have both phrases */
    uint64_t known = checkouts + writes;
    uint64_t other =
        outcomes[OUTCOME_HTTP_ERROR] > known ? outcomes[OUTCOME_HTTP_ERROR] - known : 0;
    if (other > 0)
        say(voice, "%" PRIu64 " requests were answered with %serror.", other,
            checkouts + writes > 0 ? "another " : "an ");
    if (outcomes[OUTCOME_PROTOCOL_ERROR] > 0)
        say(voice, "%" PRIu64 " answers were no HTTP.", outcomes[OUTCOME_PROTOCOL_ERROR]);
}

/* The thresholds that were not kept, with what was measured. */
static void explain_thresholds(const struct voice *voice, const struct load_stats *stats,
                               const struct slo_list *slos)
{
    char measured[96];
    for (size_t i = 0; i < slos->count; i++)
        if (!slo_holds(&slos->items[i], stats, measured, sizeof measured))
            say(voice, "Threshold %s: not kept, %s.", slos->items[i].text, measured);
}

void verdict_explain(const struct load_result *result, const struct test_plan *plan,
                     void (*add)(void *argument, const char *sentence), void *argument)
{
    const struct voice voice = {.add = add, .argument = argument};
    const struct load_stats *stats = result->stats;
    const uint64_t *outcomes = stats->ledger.outcomes;
    const struct feed_defects *defects = &stats->defects;
    if (!result->balanced)
        say(&voice, "The books do not balance, do not trust this run: %s.", result->imbalance);
    if (result->stop_reason)
        say(&voice, "Stopped by %s %.1f s into the run; %" PRIu64 " requests were in flight.",
            result->stop_reason == STOP_BY_REST ? "a request" : "a signal",
            seconds(result->elapsed_ns), outcomes[OUTCOME_IN_FLIGHT_AT_END]);
    (void)generator_check(stats, add, argument);
    explain_thresholds(&voice, stats, &plan->slos);
    explain_connections(&voice, result);
    explain_errors(&voice, result, &plan->load);
    if (outcomes[OUTCOME_WRONG] > 0)
        say(&voice,
            "%" PRIu64 " answers said 200 and were wrong: %" PRIu64 " entries lost, %" PRIu64
            " foreign, %" PRIu64 " duplicate, %" PRIu64 " corrupt, %" PRIu64 " bodies unreadable.",
            outcomes[OUTCOME_WRONG], defects->lost, defects->foreign, defects->duplicate,
            defects->corrupt, defects->malformed);
    if (outcomes[OUTCOME_DROPPED] > 0)
        say(&voice,
            "%" PRIu64 " requests were never sent, since %" PRIu64
            " were in flight (--max-in-flight).",
            outcomes[OUTCOME_DROPPED], plan->load.max_in_flight);
    if (stats->ledger.retries > 0)
        say(&voice, "%" PRIu64 " retries came on top: the service had %.2f times the load.",
            stats->ledger.retries, (double)stats->ledger.attempts / (double)stats->ledger.sent);
    if (outcomes[OUTCOME_OK] == stats->ledger.scheduled && stats->ledger.scheduled > 0)
        say(&voice, plan->load.check == LOAD_CHECK_FEED
                        ? "Every answer was there and every entry in it was right."
                        : "Every answer had a good status; bodies were not looked at.");
}
