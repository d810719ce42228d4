/*
 * What a service can do: the search run with real load, the overload beyond it and the recovery,
 * and what it should be on paper.
 */
#ifndef FLASHOVER_LOADTEST_CAPACITY_CAPACITY_H
#define FLASHOVER_LOADTEST_CAPACITY_CAPACITY_H

#include "loadtest/capacity/search.h"
#include "loadtest/engine/load_run.h"
#include "loadtest/judge/test_plan.h"
#include "loadtest/plan/prediction.h"

#define CAPACITY_TRIALS_MAX  80
#define CAPACITY_REASON_SIZE 160
#define CAPACITY_OVERLOADS   3
/* Requests and seconds that a trial has at least. */
#define CAPACITY_TRIAL_REQUESTS 60
#define CAPACITY_TRIAL_S        5
/* After an overload: half of the sustainable rate, to see when it is served well again. */
#define CAPACITY_RECOVERY_RATE 0.5
#define CAPACITY_RECOVERY_S    10

/* The service's SLO: what a trial is held against without --slo. */
#define CAPACITY_SLO "wrong==0,ok>=99.9%,p(99)<=200"

/* A trial, boiled down. Rates per second, NAN where unknown. */
struct capacity_trial {
    enum capacity_phase phase;
    double rate_per_s; /* offered */
    double duration_s;
    bool passed;
    bool invalid;         /* the load tester was the bottleneck: says nothing about the service */
    double goodput_per_s; /* right answers, while the rate was offered */
    double p50_ms;
    double p99_ms;
    bool p99_is_at_least;
    uint64_t scheduled;
    uint64_t ok;
    unsigned crashes;
    double hold_s;                     /* mean time that a connection was used */
    double uses_per_request;           /* checkouts for each request */
    double processor_s;                /* of this machine, a request; set by who runs the trial */
    char reason[CAPACITY_REASON_SIZE]; /* why it did not pass; "" when it did */
    /* CAPACITY_OVERLOAD only: from the end of the overload until answers were good again. */
    double recovery_s;
    bool recovery_is_at_least; /* they were not, as long as was looked */
};

struct capacity {
    struct test_plan plan; /* the schedule is replaced for each trial */
    const char *admin_url; /* or NULL: no prediction, no crashes */
    const char *admin_token_file;
    double start_per_s;
    double max_per_s;
    double precision;
    double confirm_s;
    bool overload; /* go beyond the boundary as well */
    /* Results. */
    struct capacity_trial trials[CAPACITY_TRIALS_MAX];
    size_t trial_count;
    bool complete;      /* the search came to its end */
    bool invalid;       /* the load tester was the bottleneck from the start */
    bool upper_invalid; /* what ends at the upper bound is the load tester, not the service */
    struct capacity_bounds sustainable;
    double saturation_per_s; /* the highest goodput of all trials */
    double collapse_per_s;   /* the lowest offered rate with less than half of that; NAN: none */
    struct prediction predicted; /* from what was measured; NAN where that is unknown */
    struct service_sample service;
    double hold_s;           /* measured at the highest rate that passed */
    double uses_per_request; /* likewise */
    double processor_s;  /* likewise; of all programs. NAN: the service is not on this machine */
    unsigned processors; /* that this machine has */
};

/* Runs everything, or as much as was possible until `stop`; each trial is printed on stderr. False
 * with the reason in `why`: what is in `trials` then is valid all the same. */
bool capacity_run(struct capacity *capacity, struct stop *stop, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* Fills in what the trials say together. */
void capacity_sum_up(struct capacity *capacity);

#endif
