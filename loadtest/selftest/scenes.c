#include "loadtest/selftest/scenes.h"

#include "common/clock.h"

/* What arrives just at an edge of a stall may see it or not. The first edge therefore lies half a
 * gap before a request of the schedule is due; at the last, it makes no difference. */
#define STALL_FROM(gap_ms) (3 * CLOCK_NS_PER_S - (gap_ms)*CLOCK_NS_PER_MS / 2)
#define STALL_UNTIL        (4 * CLOCK_NS_PER_S)

const struct stall_scene selftest_scene_stall = {
    .service_ns = CLOCK_NS_PER_MS,
    .stall_from_ns = STALL_FROM(10),
    .stall_until_ns = STALL_UNTIL,
    .items = 3,
};

const struct stall_scene selftest_scene_drain = {
    .slots = 1,
    .service_ns = 10 * CLOCK_NS_PER_MS,
    .stall_from_ns = STALL_FROM(20),
    .stall_until_ns = STALL_UNTIL,
    .items = 3,
};

const struct stall_scene selftest_scene_overload = {
    .slots = 10,
    .service_ns = 100 * CLOCK_NS_PER_MS,
    .items = 3,
};

static void choose_hole(uint64_t number, struct stall_answer *answer)
{
    if (number % 100 == 50)
        answer->kind = STALL_HOLE;
}

const struct stall_scene selftest_scene_hole = {
    .service_ns = CLOCK_NS_PER_MS,
    .items = 3,
    .choose = choose_hole,
};

const struct stall_scene selftest_scene_steady = {
    .service_ns = CLOCK_NS_PER_MS,
    .items = 3,
};

const struct stall_scene selftest_scene_queue = {
    .slots = 1,
    .service_ns = CLOCK_NS_PER_MS,
    .is_exponential = true,
    .seed = 6,
    .items = 1,
};

static void choose_mixed(uint64_t number, struct stall_answer *answer)
{
    static const enum stall_kind kinds[10] = {
        [2] = STALL_ERROR,   [4] = STALL_RESET, [5] = STALL_HOLE,  [6] = STALL_LATE,
        [7] = STALL_GARBAGE, [8] = STALL_WRONG, [9] = STALL_ERROR,
    };
    answer->kind = kinds[number % 10];
    if (answer->kind == STALL_WRONG)
        answer->lost = 1;
}

const struct stall_scene selftest_scene_mixed = {
    .service_ns = 5 * CLOCK_NS_PER_MS,
    .late_ns = 2 * CLOCK_NS_PER_S,
    .items = 10,
    .choose = choose_mixed,
};

const struct stall_scene selftest_scene_spread = {
    .service_ns = 20 * CLOCK_NS_PER_MS,
    .is_exponential = true,
    .seed = 8,
    .items = 3,
};

static void choose_corrupt(uint64_t number, struct stall_answer *answer)
{
    static const struct stall_answer wrong[20] = {
        [3] = {.kind = STALL_WRONG, .lost = 2},
        [7] = {.kind = STALL_WRONG, .foreign = 1},
        [11] = {.kind = STALL_WRONG, .duplicate = 3},
        [13] = {.kind = STALL_WRONG, .corrupt = 4},
        [17] = {.kind = STALL_WRONG, .lost = 1, .foreign = 1},
    };
    *answer = wrong[number % 20];
}

const struct stall_scene selftest_scene_corrupt = {
    .service_ns = 2 * CLOCK_NS_PER_MS,
    .items = 300,
    .choose = choose_corrupt,
};
