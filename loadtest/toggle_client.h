/*
 * Reads and sets the service's toggles through its admin port.
 */
#ifndef FLASHOVER_LOADTEST_TOGGLE_CLIENT_H
#define FLASHOVER_LOADTEST_TOGGLE_CLIENT_H

#include "loadtest/admin_client.h"
#include "loadtest/stop.h"

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

/* Asks once. Returns 0, or -1 with the reason in `why`. */
int toggle_client_get(struct admin_client *admin, struct toggle_state *out, char *why,
                      size_t why_size);

/* Sets the values and reads them back, again and again while the service is down or answers with a
 * 5xx, until deadline_ns (monotonic) or `stop` (may be NULL). A refusal (4xx) ends it at once.
 * Returns 0, or -1 with the reason in `why`. */
int toggle_client_set(struct admin_client *admin, const struct toggle_values *values,
                      const struct stop *stop, int64_t deadline_ns, char *why, size_t why_size);

#endif
