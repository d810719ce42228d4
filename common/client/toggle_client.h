/*
 * Reads and sets the service's toggles through its admin port.
 */
#ifndef FLASHOVER_COMMON_CLIENT_TOGGLE_CLIENT_H
#define FLASHOVER_COMMON_CLIENT_TOGGLE_CLIENT_H

#include "common/client/admin_client.h"
#include "common/stop.h"

#include <stdint.h>

#define TOGGLE_VALUE_SIZE 32

/* The toggles that the matrix moves; the strings are borrowed. */
struct toggle_values {
    const char *query;
    const char *map;
    const char *admission;
};

/* The same, as found. */
struct toggle_state {
    char query[TOGGLE_VALUE_SIZE];
    char map[TOGGLE_VALUE_SIZE];
    char admission[TOGGLE_VALUE_SIZE];
};

/* Asks once. False with the reason in `why`. */
bool toggle_client_get(struct admin_client *admin, struct toggle_state *out, char *why,
                       size_t why_size) __attribute__((warn_unused_result));

/* Sets the values and reads them back, again and again while the service is down or answers with a
 * 5xx, until deadline_ns (monotonic) or `stop` (may be NULL). A refusal (4xx) ends it at once.
 * False with the reason in `why`. */
bool toggle_client_set(struct admin_client *admin, const struct toggle_values *values,
                       const struct stop *stop, int64_t deadline_ns, char *why, size_t why_size)
    __attribute__((warn_unused_result));

#endif
