/*
 * Thresholds that a run is held against, in k6's grammar: "p(99)<200", "ok>99.9%", "wrong==0".
 */
#ifndef FLASHOVER_LOADTEST_JUDGE_SLO_H
#define FLASHOVER_LOADTEST_JUDGE_SLO_H

#include "loadtest/books/load_stats.h"

#include <stdbool.h>
#include <stddef.h>

#define SLO_MAX       16
#define SLO_TEXT_SIZE 48

enum slo_metric {
    SLO_PERCENTILE, /* of the response time, as are the next two; in ms */
    SLO_MEAN,
    SLO_LARGEST,
    SLO_OUTCOME,  /* requests with one outcome: a count, or a share of those scheduled */
    SLO_FAILURES, /* all that are not ok */
};

enum slo_operator { SLO_LESS, SLO_AT_MOST, SLO_MORE, SLO_AT_LEAST, SLO_EQUAL };

struct slo {
    char text[SLO_TEXT_SIZE]; /* as given */
    enum slo_metric metric;
    double percent;       /* SLO_PERCENTILE */
    enum outcome outcome; /* SLO_OUTCOME */
    enum slo_operator operator;
    double bound;  /* ms, a count, or percent */
    bool is_share; /* bound is in percent of what was scheduled */
};

struct slo_list {
    struct slo items[SLO_MAX];
    size_t count;
};

/* The thresholds of a run without --slo. */
#define SLO_DEFAULT "wrong==0,ok>=99.9%"

/* Adds the thresholds in `text`, which are separated by commas: METRIC OPERATOR BOUND. METRIC is
 * p(N), med, avg or max, then BOUND is a time in ms or with a unit (200, 200ms, 2s); or an
 * outcome's key (ok, wrong, timeout, …) or `failed`, then BOUND is a number of requests or, with
 * %, a share of those scheduled. OPERATOR is < <= > >= ==. False with the reason in `why`. */
bool slo_parse(struct slo_list *list, const char *text, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* Whether the run kept it; `measured` gets the figure in words: "p(99) is at least 2.00 s". A
 * percentile that is only known to be at least some value fails every upper bound. */
bool slo_holds(const struct slo *slo, const struct load_stats *stats, char *measured, size_t size);

/* Whether one of the thresholds is about this outcome. */
bool slo_names(const struct slo_list *list, enum outcome outcome);

#endif
