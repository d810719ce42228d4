/*
 * The page: multi-window burn-rate alerts on the two SLIs, as in chapter 5 of the SRE Workbook
 * ("Alerting on SLOs", 2018), with an hour's windows divided by 60. Burn rate 1 spends the error
 * budget exactly within the SLO's period.
 */
#ifndef FLASHOVER_DRILL_ACCOUNT_ALERT_H
#define FLASHOVER_DRILL_ACCOUNT_ALERT_H

#include "drill/account/row.h"

/* 99.9 % of the answers are right; 99 % of the right ones come within 200 ms. */
#define SLO_BAD_SHARE  0.001
#define SLO_SLOW_SHARE 0.01
/* The accounts run over 28 days. */
#define SLO_PERIOD_S (28.0 * 86400)

enum sli { SLI_ANSWERS, SLI_LATENCY, SLIS };

struct alert_rule {
    double burn_rate; /* more than this in both windows fires */
    unsigned long_s, short_s;
};

#define ALERT_RULES 2
extern const struct alert_rule alert_rules[ALERT_RULES];

struct alert {
    bool fires;
    bool by_probe; /* a probe got a wrong answer: that fires by itself */
    bool silent;   /* the load tester itself was late too often in a window */
    enum sli sli;  /* whose rule fires */
    unsigned rule;
    double burn_rates[SLIS][ALERT_RULES][2]; /* of the long window and the short one */
};

/* Looks at the end of rows 0..count-1; windows begin with the first row at the earliest. Requests
 * count where they ended. `pace` multiplies the windows: 0.1 for tests with people's clocks at a
 * tenth. `counted`: seconds in a shadow are left out. */
struct alert alert_look(const struct account_row *rows, unsigned count, double pace, bool counted);

/* A window of so many seconds at this pace: at least one. */
unsigned account_window(unsigned seconds, double pace);

#endif
