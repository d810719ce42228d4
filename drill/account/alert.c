#include "drill/account/alert.h"

#include "common/check.h"

#include <math.h>

/* A second in which the load tester was later than this says nothing of the service. */
#define LATE_MS 100
/* Of the seconds of a window; more, and there is no verdict. */
#define LATE_SHARE 0.1

const struct alert_rule alert_rules[] = {{14.4, 60, 10}, {6, 360, 30}};

static const double budget[SLIS] = {SLO_BAD_SHARE, SLO_SLOW_SHARE};

unsigned account_window(unsigned seconds, double pace)
{
    double scaled = round(seconds * pace);
    return scaled < 1 ? 1 : (unsigned)scaled;
}

struct window {
    double all[SLIS], bad[SLIS];
    bool wrong_probe;
    bool silent;
};

static struct window sum_window(const struct account_row *rows, unsigned count, unsigned length,
                                bool counted)
{
    struct window window = {0};
    unsigned late = 0;
    unsigned first = count > length ? count - length : 0;
    for (unsigned i = first; i < count; i++) {
        const struct account_row *row = &rows[i];
        if (row->lag_ms > LATE_MS) {
            late++;
            continue;
        }
        if (counted && (row->trigger_shadow || row->deployment_shadow))
            continue;
        window.all[SLI_ANSWERS] += row->right_ended + row->bad_ended;
        window.bad[SLI_ANSWERS] += row->bad_ended;
        window.all[SLI_LATENCY] += row->right_ended;
        window.bad[SLI_LATENCY] += row->slow_ended;
        window.wrong_probe |= row->probed_wrong > 0;
    }
    window.silent = late > LATE_SHARE * (count - first);
    return window;
}

static double burn_rate(const struct window *window, enum sli sli)
{
    return window->all[sli] > 0 ? window->bad[sli] / window->all[sli] / budget[sli] : 0;
}

struct alert alert_look(const struct account_row *rows, unsigned count, double pace, bool counted)
{
    struct alert alert = {0};
    for (unsigned rule = ALERT_RULES; rule-- > 0;) {
        struct window windows[2] = {
            sum_window(rows, count, account_window(alert_rules[rule].long_s, pace), counted),
            sum_window(rows, count, account_window(alert_rules[rule].short_s, pace), counted)};
        bool silent = windows[0].silent || windows[1].silent;
        alert.silent |= silent;
        for (enum sli sli = SLIS; sli-- > 0;) {
            double *rates = alert.burn_rates[sli][rule];
            rates[0] = burn_rate(&windows[0], sli);
            rates[1] = burn_rate(&windows[1], sli);
            if (!silent && rates[0] > alert_rules[rule].burn_rate &&
                rates[1] > alert_rules[rule].burn_rate) {
                alert.fires = true;
                alert.sli = sli;
                alert.rule = rule;
            }
        }
        if (rule == 0 && !silent && windows[1].wrong_probe)
            alert.by_probe = alert.fires = true;
    }
    return alert;
}
