/*
 * Capacity on paper. Two bounds: what a pool of P connections can do when each query holds one for
 * h seconds, and what the processors can do when each request takes some of their time.
 */
#ifndef FLASHOVER_LOADTEST_PLAN_PREDICTION_H
#define FLASHOVER_LOADTEST_PLAN_PREDICTION_H

#include <stdbool.h>

struct prediction_input {
    double pool_size;         /* P */
    double items;             /* F */
    double hold_s;            /* h: from hand-over to check-in */
    double request_timeout_s; /* T */
    double rate_per_s;        /* L, offered */
    bool per_item;            /* a checkout and a query per item, and one for the list */
    double processors;        /* N, of the machine that everything runs on */
    double processor_s;       /* c: their time that a request takes, of all programs */
};

/* Figures are NAN where the input lacks one. */
struct prediction {
    double capacity_per_s;      /* C = P / ((F+1) * h); P / h with one query per request */
    double alone_s;             /* one request at a time: h + ceil(F/P) * h; h with one query */
    double first_timeout_s;     /* T * L / (L - C) after the load's start; INFINITY when L <= C */
    double by_processors_per_s; /* N / c */
};

struct prediction prediction_compute(const struct prediction_input *input);

#endif
