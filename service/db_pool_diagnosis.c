#include "service/db_pool_diagnosis.h"

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

/* The database refuses connections: the only cause when nothing works, the cause of the lack when
 * some do. */
static bool find_failing_connects(struct db_pool_view *view)
{
    const struct failure *failure = &view->connect_failure;
    bool is_full = strcmp(failure->sqlstate, "53300") == 0;
    if (view->connect_failures == 0)
        return false;
    return found(view, is_full ? VERDICT_SERVER_FULL : VERDICT_DATABASE_DOWN,
                 "%u connects in a row have failed, the last %lld ms ago: %s",
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

static bool find_nesting(struct db_pool_view *view)
{
    const struct db_pool_counts *counts = &view->counts;
    return counts->in_use == counts->max && view->nested == counts->max &&
           found(
               view, VERDICT_NESTED_CHECKOUT,
               "all %u connections are held by threads that wait for another one, themselves or by "
               "their request's other threads",
               counts->max);
}

/* Half the pool is enough to call it the cause; fewer are told of by the holders' list. */
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

/* There is room for more connections than there are. Where there is none at all, one is due, also
 * when its connector has not got to run yet. */
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

/* The pool is whole and in use. If, during the wait, not even every connection came back once, it
 * is their holders who are slow; else there are too few for so many. */
static void find_demand(struct db_pool_view *view)
{
    const struct db_pool_counts *counts = &view->counts;
    const struct db_holder *oldest = oldest_holder(view);
    if (view->checkins < counts->max && oldest) {
        found(view, VERDICT_SLOW_HOLDERS,
              "%llu check-ins in %lld ms of waiting, with %u connections in use; the oldest is out "
              "for %lld ms at %s (query %s, backend %d)",
              (unsigned long long)view->checkins, ms(view->waited_ns), counts->in_use,
              ms(view->at_ns - oldest->since_ns), oldest->call_site, oldest->query,
              oldest->backend_pid);
        return;
    }
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
    if (find_nesting(view) || find_leak(view) || find_growing(view))
        return;
    find_demand(view);
}
