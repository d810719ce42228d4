/*
 * The one place where a toggle's value becomes a variant's functions.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_VARIANTS_H
#define FLASHOVER_SERVICE_VARIANTS_VARIANTS_H

#include "service/variants/query/query.h"
#include "service/variants/toggles.tbl.h"

/* TOGGLE_QUERY, TOGGLE_MAP, … */
#define TOGGLE_ENUMERATOR(ID, name, VALUES) TOGGLE_##ID,
enum toggle { TOGGLE_TABLE(TOGGLE_ENUMERATOR) TOGGLES };
#undef TOGGLE_ENUMERATOR

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
