#include "loadtest/plan/schedule.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/options.h"
#include "common/random.h"

#include <math.h>

#define HASHED_ARRIVALS 65536
/* Keeps the random gaps apart from the random feeds of the same seed. */
#define GAP_STREAM UINT64_C(0x6a09e667f3bcc908)

static double stage_requests(const struct schedule_stage *stage)
{
    return stage->duration_s * (stage->from_per_s + stage->to_per_s) / 2;
}

void schedule_add_stage(struct schedule *schedule, struct schedule_stage stage)
{
    assert(schedule->stage_count < SCHEDULE_STAGES_MAX);
    schedule->stages[schedule->stage_count++] = stage;
    schedule->duration_s += stage.duration_s;
    schedule->expected += stage_requests(&stage);
    /* 0.1 * 30 is a little more than 3 in binary, 0.7 * 10 a little less than 7 */
    double count = floor(schedule->expected + 1e-6);
    schedule->count = count < 1 ? 1 : (uint64_t)count;
}

void schedule_init(struct schedule *schedule, double rate_per_s, double duration_s, uint64_t seed)
{
    assert(rate_per_s > 0 && duration_s > 0);
    *schedule = (struct schedule){.seed = seed};
    schedule_add_stage(schedule, (struct schedule_stage){rate_per_s, rate_per_s, duration_s});
}

static bool read_rate(const char **at, double *rate)
{
    char *end;
    *rate = strtod(*at, &end);
    if (end == *at || !(**at >= '0' && **at <= '9') || !(*rate >= 0 && *rate <= SCHEDULE_RATE_MAX))
        return false;
    *at = end;
    return true;
}

/* RATE/TIME or FROM-TO/TIME. */
static bool read_stage(const char *text, size_t length, struct schedule_stage *stage)
{
    char copy[64];
    const char *at = copy;
    if (length >= sizeof copy)
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (!read_rate(&at, &stage->from_per_s))
        return false;
    stage->to_per_s = stage->from_per_s;
    if (*at == '-' && (at++, !read_rate(&at, &stage->to_per_s)))
        return false;
    return *at == '/' &&
           options_parse_duration(at + 1, 1e-3, SCHEDULE_TIME_MAX_S, &stage->duration_s);
}

bool schedule_parse_stages(struct schedule *schedule, const char *text, uint64_t seed, char *why,
                           size_t why_size)
{
    *schedule = (struct schedule){.seed = seed};
    for (const char *at = text;;) {
        struct schedule_stage stage;
        size_t length = strcspn(at, ",");
        if (!read_stage(at, length, &stage)) {
            snprintf(why, why_size,
                     "'%.*s' is not RATE/TIME or FROM-TO/TIME (rates 0..%g, times 1ms..24h)",
                     (int)(length < 60 ? length : 60), at, SCHEDULE_RATE_MAX);
            return false;
        }
        if (schedule->stage_count == SCHEDULE_STAGES_MAX) {
            snprintf(why, why_size, "there are more than %d stages", SCHEDULE_STAGES_MAX);
            return false;
        }
        schedule_add_stage(schedule, stage);
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    if (schedule->duration_s > SCHEDULE_TIME_MAX_S) {
        snprintf(why, why_size, "the stages take longer than 24h together");
        return false;
    }
    return true;
}

bool schedule_parse(struct schedule *schedule, const char *text, uint64_t seed, char *why,
                    size_t why_size)
{
    if (!schedule_parse_stages(schedule, text, seed, why, why_size))
        return false;
    if (schedule->expected < 1) {
        snprintf(why, why_size, "the stages make less than one request");
        return false;
    }
    assert(schedule->count >= 1 && (double)schedule->count <= schedule->expected + 1e-6);
    return true;
}

uint32_t schedule_feed(uint64_t seed, uint64_t index)
{
    return (uint32_t)(1 + random_at(seed, index) % SCHEDULE_FEEDS);
}

/* Exponentially distributed with mean 1; gap i lies before arrival i. */
static double gap_at(uint64_t seed, uint64_t index)
{
    return -log(random_unit_at(seed ^ GAP_STREAM, index));
}

/* Given that a Poisson process has n arrivals in an interval of length T, they lie at
 * T * S(i) / S(n+1), where S(i) is the sum of the first i exponential gaps (Devroye, Non-Uniform
 * Random Variate Generation, 1986, chapter V.2). So the count is known beforehand and the times are
 * a Poisson process all the same. */
void schedule_set_arrivals(struct schedule *schedule, enum arrivals arrivals)
{
    schedule->arrivals = arrivals;
    schedule->gap_sum = 0;
    if (arrivals == ARRIVALS_POISSON)
        for (uint64_t i = 0; i <= schedule->count; i++)
            schedule->gap_sum += gap_at(schedule->seed, i);
}

const char *schedule_arrivals_name(enum arrivals arrivals)
{
    return arrivals == ARRIVALS_POISSON ? "poisson" : "constant";
}

double schedule_mean_rate(const struct schedule *schedule)
{
    return schedule->expected / schedule->duration_s;
}

double schedule_peak_rate(const struct schedule *schedule)
{
    double peak = 0;
    for (size_t i = 0; i < schedule->stage_count; i++)
        peak = fmax(peak, fmax(schedule->stages[i].from_per_s, schedule->stages[i].to_per_s));
    return peak;
}

void schedule_cursor_init(struct schedule_cursor *cursor, const struct schedule *schedule,
                          unsigned part, unsigned parts)
{
    assert(part < parts);
    *cursor = (struct schedule_cursor){.schedule = schedule, .next_index = part, .step = parts};
}

/* How many requests are due before arrival `index`, with a fraction: its place on the area under
 * the rate. */
static double place_of(struct schedule_cursor *cursor, uint64_t index)
{
    const struct schedule *schedule = cursor->schedule;
    if (schedule->arrivals == ARRIVALS_CONSTANT)
        return (double)index;
    while (cursor->summed <= index)
        cursor->gap_sum += gap_at(schedule->seed, cursor->summed++);
    return schedule->expected * cursor->gap_sum / schedule->gap_sum;
}

/* When `place` requests are due, in nanoseconds after the start. */
static int64_t time_of(struct schedule_cursor *cursor, double place)
{
    const struct schedule *schedule = cursor->schedule;
    const struct schedule_stage *stage = &schedule->stages[cursor->stage];
    while (cursor->stage + 1 < schedule->stage_count &&
           place >= cursor->stage_from + stage_requests(stage)) {
        cursor->stage_from += stage_requests(stage);
        cursor->stage_at_s += stage->duration_s;
        stage = &schedule->stages[++cursor->stage];
    }
    double wanted = place - cursor->stage_from;
    double rate = stage->from_per_s;
    double slope = (stage->to_per_s - rate) / stage->duration_s;
    double within_ns;
    if (wanted <= 0 || (rate == 0 && slope == 0))
        within_ns = 0;
    else if (slope == 0)
        within_ns = wanted * (double)CLOCK_NS_PER_S / rate;
    else /* rate * t + slope * t^2 / 2 = wanted, solved so that nothing cancels out */
        within_ns = 2 * wanted * (double)CLOCK_NS_PER_S /
                    (rate + sqrt(fmax(rate * rate + 2 * slope * wanted, 0)));
    return llround(cursor->stage_at_s * (double)CLOCK_NS_PER_S + within_ns);
}

bool schedule_next(struct schedule_cursor *cursor, struct schedule_arrival *out)
{
    const struct schedule *schedule = cursor->schedule;
    uint64_t index = cursor->next_index;
    if (index >= schedule->count)
        return false;
    cursor->next_index += cursor->step;
    *out = (struct schedule_arrival){.index = index,
                                     .at_ns = time_of(cursor, place_of(cursor, index)),
                                     .feed_id = schedule_feed(schedule->seed, index)};
    assert(out->at_ns >= 0 && out->feed_id >= 1 && out->feed_id <= SCHEDULE_FEEDS);
    return true;
}

static uint64_t hash_in(uint64_t hash, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t schedule_hash(const struct schedule *schedule)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    struct schedule_cursor cursor;
    struct schedule_arrival arrival;
    hash = hash_in(hash, &schedule->count, sizeof schedule->count);
    hash = hash_in(hash, &schedule->duration_s, sizeof schedule->duration_s);
    schedule_cursor_init(&cursor, schedule, 0, 1);
    while (cursor.next_index < HASHED_ARRIVALS && schedule_next(&cursor, &arrival)) {
        hash = hash_in(hash, &arrival.at_ns, sizeof arrival.at_ns);
        hash = hash_in(hash, &arrival.feed_id, sizeof arrival.feed_id);
    }
    return hash;
}
