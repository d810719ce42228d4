#include "service/pool/diagnosis.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdarg.h>

const char *db_pool_verdict_name(enum db_pool_verdict verdict)
{
    static const char *const names[DB_POOL_VERDICTS] = {
        "none",       "undersized",    "leak",        "slow_holders", "nested_checkout",
        "connecting", "database_down", "server_full", "paused"};
    assert(verdict < DB_POOL_VERDICTS);
    return names[verdict];
}

const char *db_pool_state_name(enum db_pool_state state)
{
    static const char *const names[] = {"paused", "ready", "closed"};
    assert(state < sizeof names / sizeof names[0]);
    return names[state];
}

static bool found(struct db_pool_view *view, enum db_pool_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool found(struct db_pool_view *view, enum db_pool_verdict verdict, const char *format, ...)
{
    va_list arguments;
    view->verdict = verdict;
    va_start(arguments, format);
    vsnprintf(view->evidence, sizeof view->evidence, format, arguments);
    va_end(arguments);
    return true;
}

static long long ms(int64_t ns)
{
    return (long long)(ns / CLOCK_NS_PER_MS);
}

/* Connects fail. That explains both a pool without connections and one with too few. */
static bool find_failing_connects(struct db_pool_view *view)
{
    const struct failure *failure = &view->connect_failure;
    enum db_pool_verdict verdict = VERDICT_DATABASE_DOWN;
    if (view->connect_failures == 0)
        return false;
    if (strcmp(failure->sqlstate, "53300") == 0)
        verdict = VERDICT_SERVER_FULL;
    else if (strcmp(failure->sqlstate, "55P03") == 0) /* its prepares waited for a table's lock */
        verdict = VERDICT_SLOW_HOLDERS;
    return found(view, verdict, "%u connects in a row have failed, the last %lld ms ago: %s",
                 view->connect_failures, ms(view->at_ns - view->connect_failure_ns),
                 failure->message);
}

static bool find_pause(struct db_pool_view *view)
{
    return view->counts.state == DB_POOL_PAUSED &&
           (find_failing_connects(view) ||
            found(view, VERDICT_PAUSED,
                  "the pool is paused (generation %u) and no connect has failed since: it waits "
                  "to be made ready",
                  view->counts.generation));
}

/* A fifth of the pool is enough: only nesting leaves a holder without work while its own request
 * waits for a connection. (With 300 items a request and 20 requests a second for a pool of 20, the
 * share was between a quarter and nine tenths.) */
static bool find_nesting(struct db_pool_view *view)
{
    enum { LEAST_SHARE = 5 };
    unsigned max = view->counts.max;
    return view->nested > 0 && view->nested * LEAST_SHARE >= max &&
           found(view, VERDICT_NESTED_CHECKOUT,
                 "%u of %u connections are held by requests that wait for another one, in the "
                 "holder's own thread or in other threads",
                 view->nested, max);
}

/* Half the pool is enough to call it the cause. The list of holders shows fewer. */
static bool find_leak(struct db_pool_view *view)
{
    unsigned leaked = 0;
    int64_t oldest_ns = 0;
    const char *site = "";
    for (unsigned i = 0; i < view->holder_count; i++) {
        const struct db_holder *holder = &view->holders[i];
        int64_t age_ns = view->at_ns - holder->since_ns;
        if (holder->is_alive)
            continue;
        leaked++;
        if (age_ns >= oldest_ns) {
            oldest_ns = age_ns;
            site = holder->call_site;
        }
    }
    return leaked > 0 && leaked * 2 >= view->counts.max &&
           found(view, VERDICT_LEAK,
                 "%u of %u connections are held by threads that are gone or have gone on to "
                 "another request, the longest for %lld ms, taken at %s",
                 leaked, view->counts.max, ms(oldest_ns), site);
}

/* The pool has fewer connections than it may have. Without any, one is due, even if its connector
 * has not run yet. */
static bool find_growing(struct db_pool_view *view)
{
    const struct db_pool_counts *counts = &view->counts;
    unsigned there = counts->idle + counts->in_use + counts->draining;
    if (there >= counts->max)
        return false;
    if (find_failing_connects(view))
        return true;
    return (there == 0 || counts->connecting + counts->closing > 0) &&
           found(view, VERDICT_CONNECTING,
                 "only %u of %u connections are there: %u are being made, %u still being closed",
                 there, counts->max, counts->connecting, counts->closing);
}

static const struct db_holder *oldest_holder(const struct db_pool_view *view)
{
    const struct db_holder *oldest = NULL;
    for (unsigned i = 0; i < view->holder_count; i++)
        if (!oldest || view->holders[i].since_ns < oldest->since_ns)
            oldest = &view->holders[i];
    return oldest;
}

/* Whether the connections were mostly held for answers that did not come: fewer queries finished
 * during the wait than there are connections, or they took up less than half of the connections'
 * time. (A connection that is given back at a deadline, or unused, is no sign of a fast query.) */
static bool are_holders_slow(const struct db_pool_view *view)
{
    unsigned max = view->counts.max;
    return view->checkins < max || view->served_ns < view->waited_ns / 2 * max;
}

static bool find_slow_holders(struct db_pool_view *view)
{
    const struct db_pool_counts *counts = &view->counts;
    const struct db_holder *oldest = oldest_holder(view);
    char where[160];
    if (!are_holders_slow(view))
        return false;
    if (oldest)
        snprintf(where, sizeof where, "the oldest is out for %lld ms at %s (query %s, backend %d)",
                 ms(view->at_ns - oldest->since_ns), oldest->call_site, oldest->query,
                 oldest->backend_pid);
    else
        snprintf(where, sizeof where, "%u wait for answers that nobody waits for any more",
                 counts->draining);
    return found(
        view, VERDICT_SLOW_HOLDERS,
        "%llu check-ins in %lld ms of waiting fill %.0f %% of the time of %u connections; %s",
        (unsigned long long)view->checkins, ms(view->waited_ns),
        100 * (double)view->served_ns / (double)view->waited_ns / counts->max, counts->max, where);
}

/* The pool has all its connections, and all are in use, and they come back fast. */
static void find_undersized(struct db_pool_view *view)
{
    const struct db_pool_counts *counts = &view->counts;
    double hold_s = (double)view->mean_hold_ns / (double)CLOCK_NS_PER_S;
    found(
        view, VERDICT_UNDERSIZED,
        "%llu check-ins in %lld ms of waiting, a mean hold of %.1f ms: %u connections serve about "
        "%.0f checkouts a second, and %u wait",
        (unsigned long long)view->checkins, ms(view->waited_ns), 1000 * hold_s, counts->max,
        hold_s > 0 ? counts->max / hold_s : 0.0, counts->waiting);
}

void db_pool_diagnose(struct db_pool_view *view)
{
    view->verdict = VERDICT_NONE;
    view->evidence[0] = '\0';
    if (find_pause(view))
        return;
    if (view->waited_ns == 0)
        return;
    if (!find_nesting(view) && !find_leak(view) && !find_growing(view) && !find_slow_holders(view))
        find_undersized(view);
}
