/*
 * Does the load tester tell the truth? Tests T1 to T9, each with a server whose behaviour is known,
 * so that what must be measured can be worked out on paper.
 */
#ifndef FLASHOVER_LOADTEST_SELFTEST_SELFTEST_H
#define FLASHOVER_LOADTEST_SELFTEST_SELFTEST_H

#include "common/stop.h"
#include "loadtest/selftest/stall_scene.h"
#include "loadtest/selftest/table.h"

#define SELFTEST_ATTEMPTS 3

struct selftest_case {
    const char *name;  /* "T1" */
    const char *title; /* what it is about, at most 80 characters */
    double seconds;    /* what it takes */
    bool in_turn;      /* it is short: one after another, lest too many loads begin at once */
    /* Fills the table. A row is wrong, or the test could not be done: it failed. */
    void (*run)(struct selftest_table *table, const struct stop *stop);
    const struct stall_scene *scene; /* what others can be held against (--serve); or NULL */
    bool counts_only;                /* no figure is a time: lateness excuses none of them */
};

/* How a case came out. */
struct selftest_outcome {
    const struct selftest_case *test;
    struct selftest_table table; /* of the last attempt */
    unsigned attempts;           /* 1..SELFTEST_ATTEMPTS */
    char repeated[SELFTEST_ATTEMPTS]
                 [SELFTEST_WHY]; /* why each attempt but the last did not count */
    bool ok;
};

/* All cases, in their order. */
const struct selftest_case *selftest_cases(size_t *count);

/* The case of that name; NULL when there is none. */
const struct selftest_case *selftest_find(const char *name);

/* Runs a case. One that the load tester called INVALID says nothing, nor does one that came out
 * wrong while the machine kept the server or the load tester waiting, if times are in it: it is
 * repeated, at most until SELFTEST_ATTEMPTS, and not when it would not be done by deadline_ns
 * (monotonic). */
void selftest_attempt(const struct selftest_case *test, int64_t deadline_ns,
                      const struct stop *stop, struct selftest_outcome *outcome);

void selftest_t1(struct selftest_table *table, const struct stop *stop);
void selftest_t2(struct selftest_table *table, const struct stop *stop);
void selftest_t3(struct selftest_table *table, const struct stop *stop);
void selftest_t4(struct selftest_table *table, const struct stop *stop);
void selftest_t5(struct selftest_table *table, const struct stop *stop);
void selftest_t6(struct selftest_table *table, const struct stop *stop);
void selftest_t7(struct selftest_table *table, const struct stop *stop);
void selftest_t8(struct selftest_table *table, const struct stop *stop);
void selftest_t9(struct selftest_table *table, const struct stop *stop);

#endif
