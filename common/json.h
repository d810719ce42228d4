/*
 * What jansson has no function for.
 */
#ifndef FLASHOVER_COMMON_JSON_H
#define FLASHOVER_COMMON_JSON_H

#include <jansson.h>
#include <math.h>

/* A new number, or null for NAN and the infinities, which JSON has no words for. */
static inline json_t *json_real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

#endif
