#include "loadtest/engine/retry_budget.h"

#include "loadtest/plan/load_settings.h"

#include <stdatomic.h>

#define RETRY INT64_C(1000)

void retry_budget_add(struct retry_budget *budget, double percent)
{
    int64_t had = atomic_load(&budget->thousandths);
    int64_t has;
    if (percent >= LOAD_RETRY_BUDGET_NONE)
        return;
    do {
        has = had + (int64_t)(percent * (double)RETRY / 100);
        if (has > RETRY_BUDGET_BURST * RETRY)
            has = RETRY_BUDGET_BURST * RETRY;
    } while (!atomic_compare_exchange_weak(&budget->thousandths, &had, has));
}

bool retry_budget_take(struct retry_budget *budget, double percent)
{
    int64_t had = atomic_load(&budget->thousandths);
    if (percent >= LOAD_RETRY_BUDGET_NONE)
        return true;
    do {
        if (had < RETRY)
            return false;
    } while (!atomic_compare_exchange_weak(&budget->thousandths, &had, had - RETRY));
    return true;
}
