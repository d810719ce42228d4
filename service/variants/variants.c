#include "service/variants/variants.h"

#include "common/check.h"

/* query_values[], map_values[], …: the operations of a toggle's values; query_names[], …: their
 * names, and NULL. */
#define VALUE_OPS(toggle, value, kind, help)  &toggle##_##value,
#define VALUE_NAME(toggle, value, kind, help) #value,
#define TOGGLE_VALUES(ID, toggle, VALUES)                                                          \
    static const struct toggle##_ops *const toggle##_values[] = {VALUES(VALUE_OPS)};               \
    static const char *const toggle##_names[] = {VALUES(VALUE_NAME) NULL};
TOGGLE_TABLE(TOGGLE_VALUES)

#define TOGGLE_NAMES(ID, toggle, VALUES) toggle##_names,
static const char *const *const value_names[TOGGLES] = {TOGGLE_TABLE(TOGGLE_NAMES)};

/* "|batched|per_item", less its first character. */
#define VALUE_CHOICE(toggle, value, kind, help) "|" #value
#define TOGGLE_DEFINITION(ID, toggle, VALUES)   {#toggle, &(VALUES(VALUE_CHOICE))[1]},
const struct toggle_definition toggle_definitions[TOGGLES] = {TOGGLE_TABLE(TOGGLE_DEFINITION)};

enum toggle toggle_by_name(const char *name)
{
    enum toggle toggle = 0;
    while (toggle < TOGGLES && strcmp(toggle_definitions[toggle].name, name) != 0)
        toggle++;
    return toggle;
}

int toggle_value_index(enum toggle toggle, const char *value)
{
    assert(toggle < TOGGLES);
    for (int index = 0; value_names[toggle][index]; index++)
        if (strcmp(value_names[toggle][index], value) == 0)
            return index;
    return -1;
}

const char *toggle_value_name(enum toggle toggle, int index)
{
    assert(toggle < TOGGLES && index >= 0);
    for (int i = 0; i <= index; i++)
        assert(value_names[toggle][i]);
    return value_names[toggle][index];
}

#define TOGGLE_OPS(ID, toggle, VALUES) .toggle = toggle##_values[value_index[TOGGLE_##ID]],
struct variant_set variants_select(const int value_index[TOGGLES])
{
    for (enum toggle toggle = 0; toggle < TOGGLES; toggle++)
        (void)toggle_value_name(toggle, value_index[toggle]); /* each index is one of a value */
    return (struct variant_set){TOGGLE_TABLE(TOGGLE_OPS)};
}
