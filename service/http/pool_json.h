/*
 * The pool in JSON: for /debug/pool, for the log line of a failed request, and its events as JSON
 * lines.
 */
#ifndef FLASHOVER_SERVICE_HTTP_POOL_JSON_H
#define FLASHOVER_SERVICE_HTTP_POOL_JSON_H

#include "common/text.h"
#include "service/pool/pool.h"

#include <jansson.h>

/* The pool at that moment: counts, the last connect error, verdict and evidence, holders. A new
 * reference; null where there is nothing to see, NULL without memory. */
json_t *pool_json_view(struct db_pool *pool, enum db_pool_moment moment);

/* The same, with the verdict and the time waited alone. */
json_t *pool_json_verdict(struct db_pool *pool, enum db_pool_moment moment);

/* Appends the flight recorder's events, oldest first, a line each. False without memory. */
bool pool_json_events(struct db_pool *pool, const char *address, struct text *out);

/* Writes the events to a new file in `dir`, whose path is put into `path`. False, with errno, when
 * that cannot be done; then there is no file. */
bool pool_json_dump_events(struct db_pool *pool, const char *address, const char *dir, char *path,
                           size_t path_size);

#endif
