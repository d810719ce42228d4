/*
 * A limit on retries by the number of requests, so that they cannot multiply a load that the
 * service does not bear: a token bucket, as Finagle's RetryBudget and gRPC's retry throttling (its
 * proposal A6) have. Each request adds its percentage of a retry, up to RETRY_BUDGET_BURST retries,
 * and each retry takes one.
 */
#ifndef FLASHOVER_LOADTEST_ENGINE_RETRY_BUDGET_H
#define FLASHOVER_LOADTEST_ENGINE_RETRY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define RETRY_BUDGET_BURST 10

/* Of one run, shared by its workers. Begins empty. */
struct retry_budget {
    _Atomic int64_t thousandths; /* (a) of retries that are allowed now */
};

/* A request was sent. percent: 0 to LOAD_RETRY_BUDGET_NONE, which means that there is no limit. */
void retry_budget_add(struct retry_budget *budget, double percent);

/* Whether a retry is allowed; it then counts. */
bool retry_budget_take(struct retry_budget *budget, double percent);

#endif
