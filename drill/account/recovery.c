#include "drill/account/recovery.h"

#include "common/check.h"
#include "drill/account/alert.h"

/* The last seconds are not final yet: what was wrong just before them is still the answer. */
#define UNFINISHED_S    7
#define MITIGATED_SHARE 25.0
#define REPAIRED_SHARE  100.0
#define IN_TIME_SHARE   (1 - SLO_SLOW_SHARE)

/* What a window must have. */
struct demands {
    unsigned length_s;
    bool shadows_included; /* in the length */
    double share_percent;
    unsigned triggers;
    bool repair; /* no crash, no leak, the defect covered */
};

static bool in_shadow(const struct account_row *row)
{
    return row->trigger_shadow || row->deployment_shadow;
}

/* What is wrong with one second. */
static enum recovery_reason judge_row(const struct account_row *row, const struct demands *demands)
{
    if (!row->known)
        return RECOVERY_GAP;
    if (!in_shadow(row) && account_row_bad(row) > 0)
        return RECOVERY_BAD;
    if (row->share_percent < demands->share_percent)
        return RECOVERY_LOAD;
    if (!demands->repair)
        return RECOVERY_HOLDS;
    if (row->crashes > 0)
        return RECOVERY_CRASH;
    if (row->leaked > 0)
        return RECOVERY_LEAK;
    return row->defect_covered ? RECOVERY_HOLDS : RECOVERY_OLDER;
}

/* The window that begins at `first`: whether it holds, and where not. */
static struct recovery judge_window(const struct account_row *rows, unsigned count, unsigned first,
                                    const struct demands *demands)
{
    unsigned length = 0;
    unsigned triggers = 0;
    double right = 0;
    double within = 0;
    for (unsigned i = first; i < count && rows[i].final; i++) {
        enum recovery_reason reason = judge_row(&rows[i], demands);
        if (reason != RECOVERY_HOLDS)
            return (struct recovery){reason, i};
        triggers += rows[i].trigger_began;
        length += demands->shadows_included || !in_shadow(&rows[i]);
        if (!in_shadow(&rows[i])) {
            right += rows[i].right;
            within += rows[i].within;
        }
        if (length < demands->length_s || triggers < demands->triggers)
            continue;
        if (within < IN_TIME_SHARE * right)
            return (struct recovery){RECOVERY_SLOW, i};
        return (struct recovery){RECOVERY_HOLDS, first};
    }
    return (struct recovery){length < demands->length_s ? RECOVERY_TOO_SHORT : RECOVERY_NO_TRIGGER,
                             count};
}

/* A window may begin in any counted second. What is wrong with a second rules out all that span it;
 * one that is too slow as a whole rules out its first second only. */
static struct recovery find_window(const struct account_row *rows, unsigned count, unsigned from,
                                   const struct demands *demands)
{
    struct recovery found = {RECOVERY_TOO_SHORT, from};
    struct recovery last = found; /* what was wrong last */
    unsigned first = from;
    while (first < count) {
        if (in_shadow(&rows[first])) {
            first++;
            continue;
        }
        found = judge_window(rows, count, first, demands);
        if (found.reason <= RECOVERY_NO_TRIGGER)
            break;
        last = found;
        first = found.reason == RECOVERY_SLOW ? first + 1 : found.at + 1;
    }
    bool is_news = last.reason > RECOVERY_NO_TRIGGER && last.at + UNFINISHED_S >= count;
    return found.reason != RECOVERY_HOLDS && is_news ? last : found;
}

struct recovery recovery_mitigated(const struct account_row *rows, unsigned count, unsigned from,
                                   const struct recovery_rules *rules)
{
    const struct demands demands = {.length_s = account_window(RECOVERY_MITIGATED_S, rules->pace),
                                    .share_percent = MITIGATED_SHARE,
                                    .triggers = rules->recurs ? 1 : 0};
    return find_window(rows, count, from, &demands);
}

struct recovery recovery_repaired(const struct account_row *rows, unsigned count, unsigned from,
                                  const struct recovery_rules *rules)
{
    const struct demands demands = {.length_s = account_window(RECOVERY_REPAIRED_S, rules->pace),
                                    .shadows_included = true,
                                    .share_percent = REPAIRED_SHARE,
                                    .triggers = rules->recurs ? 2 : 0,
                                    .repair = true};
    return find_window(rows, count, from, &demands);
}
