/*
 * Thresholds as a user writes them. Input: the text.
 */
#include "loadtest/judge/slo.h"

#include "tests/fuzz/input.h"

#include <math.h>

/* The runs to judge: one without requests, and one with a request of 2 ms. */
static struct load_stats empty;
static struct load_stats one;

static void check_slo(const struct slo *slo)
{
    char measured[64];
    char why[160];
    struct slo_list again = {0};
    assert(isfinite(slo->bound) && slo->bound >= 0);
    assert(!slo->is_share || slo->bound <= 100);
    assert(slo->metric != SLO_PERCENTILE || (slo->percent > 0 && slo->percent <= 100));
    assert(slo_parse(&again, slo->text, why, sizeof why) && again.count == 1);
    assert(again.items[0].metric == slo->metric && again.items[0].operator== slo->operator);
    assert(again.items[0].bound == slo->bound && again.items[0].outcome == slo->outcome);
    assert(!slo_holds(slo, &empty, measured, sizeof measured)); /* fails without requests */
    measured[0] = '\0';
    slo_holds(slo, &one, measured, sizeof measured);
    assert(strlen(measured) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct fuzz_input input = {data, size_bytes};
    struct slo_list list = {0};
    char why[160] = "";
    if (one.ledger.scheduled == 0) {
        empty.censored_from_ns = one.censored_from_ns = INT64_MAX;
        one.ledger.scheduled = one.ledger.sent = one.ledger.outcomes[OUTCOME_OK] = 1;
        histogram_record_ns(&one.response_all, 2000000);
    }
    char *text = fuzz_string(&input);
    bool parsed = slo_parse(&list, text, why, sizeof why);
    assert(list.count <= SLO_MAX);
    assert(parsed ? list.count > 0 : strlen(why) > 0);
    for (size_t i = 0; i < list.count; i++)
        check_slo(&list.items[i]);
    free(text);
    return 0;
}
