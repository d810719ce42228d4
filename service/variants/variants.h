/*
 * The one place where a toggle's value becomes a variant's functions.
 */
#ifndef FLASHOVER_VARIANTS_H
#define FLASHOVER_VARIANTS_H

#include "service/variants/query.h"

enum toggle {
    TOGGLE_QUERY,
    TOGGLE_MAP,
    TOGGLE_RELEASE,
    TOGGLE_ADMISSION,
    TOGGLE_FATAL,
    TOGGLE_DEADLINE,
    TOGGLE_CANCEL,
    TOGGLES
};

struct toggle_definition {
    const char *name;
    const char *choices; /* "batched|per_item": the first is the default, the healthy value */
};

extern const struct toggle_definition toggle_definitions[TOGGLES];

/* The toggle of this name, or TOGGLES. */
enum toggle toggle_by_name(const char *name);

/* The value's index among the toggle's choices, or -1. */
int toggle_value_index(enum toggle toggle, const char *value);

/* The value at an index, as a string constant. */
const char *toggle_value_name(enum toggle toggle, int index);

/* The functions for one value of each toggle. */
struct variant_set variants_select(const int value_index[TOGGLES]);

#endif
