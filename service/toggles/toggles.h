/*
 * The toggles' present values. A row of the database beats the start option, which beats the
 * default.
 */
#ifndef FLASHOVER_SERVICE_TOGGLES_TOGGLES_H
#define FLASHOVER_SERVICE_TOGGLES_TOGGLES_H

#include "service/toggles/stored_value.h"
#include "service/variants/variants.h"

#include <jansson.h>

/* Lock key: (i) immutable, (m) under `lock`. */
struct toggles {
    pthread_mutex_t lock;
    int start_index[TOGGLES];                /* (i) the value that the options gave */
    enum value_origin start_origin[TOGGLES]; /* (i) */
    int index[TOGGLES];                      /* (m) the value in force */
    enum value_origin origin[TOGGLES];       /* (m) */
};

/* Starts with the options' values; each must be one of its toggle's choices. */
void toggles_init(struct toggles *toggles, const char *const values[TOGGLES],
                  const enum value_origin origins[TOGGLES]);

/* The variants in force at this moment. */
struct variant_set toggles_select(struct toggles *toggles);

/* Puts the database's rows (an object of name: value) in force; a toggle without a row falls back
 * to its start value. Logs what changed, and rows that name no known toggle or value, which it
 * passes over. */
void toggles_apply(struct toggles *toggles, const json_t *stored);

/* An array of {"name":…,"value":…,"origin":…,"choices":[…]}. The caller owns it. */
json_t *toggles_describe(struct toggles *toggles);

/* Whether `changes` is an object of known toggles with known values; else *message says what is
 * wrong with which. */
bool toggles_check(const json_t *changes, char *message, size_t size);

#endif
