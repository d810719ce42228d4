#include "loadtest/report/ledger_json.h"

#include "common/check.h"

json_t *ledger_json_build(const struct ledger *ledger)
{
    assert(ledger->attempts >= ledger->retries);
    json_t *root = json_pack("{s:I, s:I, s:I, s:I}", "scheduled", (json_int_t)ledger->scheduled,
                             "sent", (json_int_t)ledger->sent, "attempts",
                             (json_int_t)ledger->attempts, "retries", (json_int_t)ledger->retries);
    for (size_t i = 0; i < OUTCOME_COUNT; i++)
        json_object_set_new(root, ledger_outcome_key((enum outcome)i),
                            json_integer((json_int_t)ledger->outcomes[i]));
    return root;
}
