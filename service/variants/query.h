/*
 * The toggle `query`: how a feed's rows are fetched. And the set of variants that one request works
 * with.
 */
#ifndef FLASHOVER_QUERY_H
#define FLASHOVER_QUERY_H

#include "service/fan_out.h"
#include "service/variants/admission.h"
#include "service/variants/fatal.h"
#include "service/variants/map.h"
#include "service/variants/release.h"

/* A request reads all toggles once, at its start, into one of these. */
struct variant_set {
    const struct query_ops *query;
    const struct map_ops *map;
    const struct release_ops *release;
    const struct admission_ops *admission;
    const struct fatal_ops *fatal;
};

/* What every request shares: immutable, and alive for longer than any thread. */
struct query_environment {
    struct db_pool *pool;
    struct queries queries;
    struct fan_out_limits fan_out;
    _Atomic uint64_t *item_failures; /* [FAILURE_KINDS], counted as they happen, late ones too */
};

struct query_request {
    const struct query_environment *environment;
    struct variant_set variants;
    int64_t feed_id;
    unsigned items;
    int64_t deadline_ns;
    const char *request_id;
};

/* What came of a request: the rows, or the failure that decides and how many items failed of what.
 */
struct query_outcome {
    struct result_map *map; /* owned, by the operations of variants.map; NULL on failure */
    struct failure failure;
    unsigned failed_items[FAILURE_KINDS];
};

struct query_ops {
    const char *name;
    /* Runs in the request's own thread, returns at the latest a small grace after the deadline.
     * True: outcome->map holds every item. False: outcome->failure is set. */
    bool (*run)(const struct query_request *request, struct query_outcome *outcome);
};

extern const struct query_ops query_batched;
extern const struct query_ops query_per_item;

/* One checkout, one use, one check-in, by the request's variants: what both siblings are made of.
 * `use` gets the connection and `context`; its result decides whether the query succeeded. */
bool query_with_connection(const struct query_request *request, const char *call_site,
                           const char *query,
                           bool (*use)(struct db_conn *conn, void *context,
                                       struct failure *failure),
                           void *context, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
