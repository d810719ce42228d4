#include "drill/report/replay.h"

#include "common/check.h"
#include "drill/record/record.h"

#include <math.h>

/* The lines that say when something came. */
static const struct {
    const char *kind;
    enum replay_time time;
} times[] = {{"fault", REPLAY_T0},     {"page", REPLAY_T1},     {"acknowledge", REPLAY_T2},
             {"mitigated", REPLAY_T3}, {"repaired", REPLAY_T4}, {"end", REPLAY_END}};

static bool take_row(struct replay *replay, const json_t *line)
{
    const json_t *second = json_object_get(line, "second");
    json_int_t at = json_is_integer(second) ? json_integer_value(second) : -1;
    if (at < 0 || at >= ACCOUNT_SECONDS_MAX || !account_row_read(&replay->rows[at], line))
        return false;
    if ((unsigned)at + 1 > replay->row_count)
        replay->row_count = (unsigned)at + 1;
    return true;
}

/* The drill's own lines have the time itself; people's, when they were entered. People can claim
 * "repaired", too. */
static void take_time(struct replay *replay, const char *kind, const json_t *line)
{
    const char *who = json_string_value(json_object_get(line, "who"));
    const json_t *at = json_object_get(line, "t_s");
    if (!at)
        at = json_object_get(line, "at_s");
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        bool by_people = times[i].time == REPLAY_T2;
        if (strcmp(times[i].kind, kind) == 0 && json_is_number(at) && who &&
            by_people == (strcmp(who, "people") == 0) && isnan(replay->t_s[times[i].time]))
            replay->t_s[times[i].time] = json_number_value(at);
    }
}

static bool take_line(void *context, const json_t *line)
{
    struct replay *replay = context;
    const char *kind = json_string_value(json_object_get(line, "kind"));
    if (!kind) {
        replay->passed_over++;
    } else if (strcmp(kind, "row") == 0) {
        replay->passed_over += !take_row(replay, line);
    } else if (strcmp(kind, "snapshot") != 0) {
        if (strcmp(kind, "start") == 0 && !replay->start)
            replay->start = json_deep_copy(line);
        take_time(replay, kind, line);
        json_array_append_new(replay->lines, json_deep_copy(line));
    }
    return true;
}

bool replay_open(struct replay *replay, const char *folder)
{
    *replay = (struct replay){.rows = calloc(ACCOUNT_SECONDS_MAX, sizeof *replay->rows),
                              .lines = json_array()};
    for (int i = 0; i < REPLAY_TIMES; i++)
        replay->t_s[i] = NAN;
    if (!replay->rows || !replay->lines)
        return false;
    int passed_over = record_read(folder, take_line, replay);
    replay->passed_over += passed_over > 0 ? passed_over : 0;
    return passed_over >= 0 && replay->start;
}

void replay_close(struct replay *replay)
{
    free(replay->rows);
    json_decref(replay->start);
    json_decref(replay->lines);
}

struct replay_sums replay_sum(const struct replay *replay, unsigned first, unsigned end)
{
    struct replay_sums sums = {.p99_max_ms = NAN};
    for (unsigned i = first; i < end && i < replay->row_count; i++) {
        const struct account_row *row = &replay->rows[i];
        double bad = row->demanded > row->right ? row->demanded - row->right : 0;
        sums.demanded += row->demanded;
        sums.ended += row->ended;
        sums.right += row->right;
        sums.within += row->within;
        sums.shed += row->demanded > row->due ? row->demanded - row->due : 0;
        sums.bad += bad;
        sums.bad_seconds += bad > 0;
        sums.crashes += row->crashes;
        sums.gaps += !row->known;
        if (!isnan(row->p99_ms) && !(sums.p99_max_ms >= row->p99_ms))
            sums.p99_max_ms = row->p99_ms;
    }
    return sums;
}

unsigned replay_second(const struct replay *replay, enum replay_time time, unsigned otherwise)
{
    double at_s = replay->t_s[time];
    if (isnan(at_s))
        return otherwise;
    return at_s < 0 ? 0 : at_s < replay->row_count ? (unsigned)at_s : replay->row_count;
}
