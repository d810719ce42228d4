#include "drill/engine/plan.h"

#include "common/check.h"
#include "common/random.h"

/* The deployments of the healthy phase fall within so many of its last seconds. */
#define DEPLOYED_WITHIN_S 180
/* The places of a seed's sequence; what comes later is for the triggers. */
enum { AT_HEALTHY, AT_VERSION, AT_GUILTY, AT_WORDS, AT_DEPLOYMENTS, AT_TRIGGERS = 100 };

/* What harmless versions say of themselves. */
static const char *const harmless[] = {
    "Newer base image, same packages",
    "Write the caller's name into the access log",
    "Rename two metrics as the guide has it",
    "Set cache headers on the health checks",
    "Remove an option that nobody sets",
    "Compile with the hardening flags of the platform team",
    "Shorter line for refused requests",
    "Read the time zone from the environment",
};
#define HARMLESS (sizeof harmless / sizeof harmless[0])

/* In (0, 1]. */
static double unit(const struct plan *plan, uint64_t at)
{
    return random_unit_at(plan->seed, at);
}

static unsigned below(const struct plan *plan, uint64_t at, unsigned count)
{
    return (unsigned)(random_at(plan->seed, at) % count);
}

/* One in each third of the time, so that they never come at once. The last one comes at T0,
 * which it is where the deployment alone is the fault. */
static void place_deployments(struct plan *plan, const struct scenario *scenario)
{
    const struct scenario_drill *drill = &scenario->drill;
    bool has_guilty = drill->toggle_count > 0;
    bool is_trigger = has_guilty && drill->at_fault_count == 0 && drill->trigger_count == 0;
    unsigned guilty = is_trigger ? PLAN_DEPLOYMENTS - 1 : below(plan, AT_GUILTY, PLAN_DEPLOYMENTS);
    double whole = DEPLOYED_WITHIN_S * plan->pace;
    double from = plan->fault_s > whole ? plan->fault_s - whole : 0;
    double third = (plan->fault_s - from) / PLAN_DEPLOYMENTS;
    for (unsigned i = 0; i < PLAN_DEPLOYMENTS; i++) {
        struct plan_deployment *deployment = &plan->deployments[i];
        double place = 0.1 + 0.7 * unit(plan, AT_DEPLOYMENTS + i);
        deployment->at_s = from + (i + place) * third;
        deployment->version = plan->version + 1 + i;
        deployment->guilty = has_guilty && i == guilty;
        deployment->summary = deployment->guilty
                                  ? drill->summary
                                  : harmless[(below(plan, AT_WORDS, HARMLESS) + i) % HARMLESS];
    }
    /* In every drill, so that it betrays none. */
    plan->deployments[PLAN_DEPLOYMENTS - 1].at_s = plan->fault_s;
}

struct plan plan_make(const struct house *house, const struct scenario *scenario, uint64_t seed,
                      double pace, double healthy_s)
{
    assert(pace > 0 && scenario->has_drill);
    struct plan plan = {.seed = seed, .pace = pace};
    if (healthy_s <= 0)
        healthy_s = house->healthy_min_s +
                    (house->healthy_max_s - house->healthy_min_s) * unit(&plan, AT_HEALTHY);
    plan.fault_s = healthy_s * pace;
    plan.version = 30 + below(&plan, AT_VERSION, 60);
    place_deployments(&plan, scenario);
    return plan;
}

double plan_trigger_gap_s(const struct plan *plan, const struct scenario *scenario, unsigned index)
{
    const struct scenario_drill *drill = &scenario->drill;
    return drill->every_min_s +
           (drill->every_max_s - drill->every_min_s) * unit(plan, AT_TRIGGERS + index);
}
