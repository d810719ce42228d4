#include "drill/account/row.h"

#include "common/check.h"
#include "common/json.h"

static int column(const json_t *columns, const char *name)
{
    for (size_t i = 0; i < json_array_size(columns); i++) {
        const char *text = json_string_value(json_array_get(columns, i));
        if (text && strcmp(text, name) == 0)
            return (int)i;
    }
    return -1;
}

bool account_columns_read(const json_t *columns, struct account_columns *where)
{
    const struct {
        const char *name;
        int *place;
    } wanted[] = {{"demanded", &where->demanded},
                  {"due", &where->due},
                  {"ended", &where->ended},
                  {"right", &where->right},
                  {"within", &where->within},
                  {"ok", &where->ok},
                  {"slow", &where->slow},
                  {"probed", &where->probed},
                  {"probed_wrong", &where->probed_wrong},
                  {"attempts", &where->attempts},
                  {"lag_max_ms", &where->lag},
                  {"p50_ms", &where->p50},
                  {"p99_ms", &where->p99}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        *wanted[i].place = column(columns, wanted[i].name);
        if (*wanted[i].place < 0)
            return false;
    }
    /* the outcomes stand between the requests that were due and what follows them */
    where->outcome_first = where->within + 1;
    where->outcome_end = where->slow;
    return where->ok >= where->outcome_first && where->ok < where->outcome_end;
}

static uint32_t count_at(const json_t *numbers, int at)
{
    json_int_t count = json_integer_value(json_array_get(numbers, (size_t)at));
    return count > 0 && count <= UINT32_MAX ? (uint32_t)count : 0;
}

static double number_at(const json_t *numbers, int at)
{
    const json_t *number = json_array_get(numbers, (size_t)at);
    return json_is_number(number) ? json_number_value(number) : (double)NAN;
}

bool account_row_take(struct account_row *row, const json_t *numbers,
                      const struct account_columns *where)
{
    if (json_array_size(numbers) <= (size_t)where->p99)
        return false;
    row->known = true;
    row->demanded = count_at(numbers, where->demanded);
    row->due = count_at(numbers, where->due);
    row->ended = count_at(numbers, where->ended);
    row->right = count_at(numbers, where->right);
    row->within = count_at(numbers, where->within);
    row->right_ended = count_at(numbers, where->ok);
    row->bad_ended = 0;
    for (int at = where->outcome_first; at < where->outcome_end; at++)
        row->bad_ended += at == where->ok ? 0 : count_at(numbers, at);
    row->slow_ended = count_at(numbers, where->slow);
    row->probed = count_at(numbers, where->probed);
    row->probed_wrong = count_at(numbers, where->probed_wrong);
    row->attempts = count_at(numbers, where->attempts);
    row->lag_ms = number_at(numbers, where->lag);
    row->p50_ms = number_at(numbers, where->p50);
    row->p99_ms = number_at(numbers, where->p99);
    return true;
}

void account_row_forget(struct account_row *row)
{
    row->known = false;
    row->demanded = row->due = row->ended = row->right = row->within = 0;
    row->right_ended = row->bad_ended = row->slow_ended = row->probed = row->probed_wrong = 0;
    row->attempts = 0;
    row->lag_ms = 0;
    row->p50_ms = row->p99_ms = NAN;
}

uint32_t account_row_bad(const struct account_row *row)
{
    return row->ended > row->right ? row->ended - row->right : 0;
}

/* The fields by name: those of the record. */
#define COUNTS(F)                                                                                  \
    F(demanded)                                                                                    \
    F(due)                                                                                         \
    F(ended)                                                                                       \
    F(right)                                                                                       \
    F(within)                                                                                      \
    F(right_ended)                                                                                 \
    F(bad_ended)                                                                                   \
    F(slow_ended)                                                                                  \
    F(probed)                                                                                      \
    F(probed_wrong)                                                                                \
    F(attempts)                                                                                    \
    F(crashes)                                                                                     \
    F(pool_used)                                                                                   \
    F(pool_max)                                                                                    \
    F(waiting)                                                                                     \
    F(leaked)
#define REALS(F)                                                                                   \
    F(lag_ms)                                                                                      \
    F(p50_ms)                                                                                      \
    F(p99_ms)                                                                                      \
    F(share_percent)
#define TRUTHS(F)                                                                                  \
    F(known)                                                                                       \
    F(final)                                                                                       \
    F(up)                                                                                          \
    F(trigger_began)                                                                               \
    F(trigger_shadow)                                                                              \
    F(deployment_shadow)                                                                           \
    F(defect_covered)

json_t *account_row_json(const struct account_row *row)
{
    json_t *object = json_object();
    bool ok = object != NULL;
#define ADD_COUNT(field)                                                                           \
    ok = ok && json_object_set_new(object, #field, json_integer((json_int_t)row->field)) == 0;
#define ADD_REAL(field)                                                                            \
    ok = ok && json_object_set_new(object, #field, json_real_or_null(row->field)) == 0;
#define ADD_TRUTH(field)                                                                           \
    ok = ok && json_object_set_new(object, #field, json_boolean(row->field)) == 0;
    COUNTS(ADD_COUNT)
    REALS(ADD_REAL)
    TRUTHS(ADD_TRUTH)
    if (ok)
        return object;
    json_decref(object);
    return NULL;
}

bool account_row_read(struct account_row *row, const json_t *object)
{
    const json_t *value;
#define READ_COUNT(field)                                                                          \
    value = json_object_get(object, #field);                                                       \
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||                                \
        json_integer_value(value) > UINT32_MAX)                                                    \
        return false;                                                                              \
    row->field = (uint32_t)json_integer_value(value);
#define READ_REAL(field)                                                                           \
    value = json_object_get(object, #field);                                                       \
    if (!json_is_number(value) && !json_is_null(value))                                            \
        return false;                                                                              \
    row->field = json_is_number(value) ? json_number_value(value) : (double)NAN;
#define READ_TRUTH(field)                                                                          \
    value = json_object_get(object, #field);                                                       \
    if (!json_is_boolean(value))                                                                   \
        return false;                                                                              \
    row->field = json_is_true(value);
    COUNTS(READ_COUNT)
    REALS(READ_REAL)
    TRUTHS(READ_TRUTH)
    return true;
}
