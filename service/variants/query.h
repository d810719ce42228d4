/*
 * The toggle `query`: how a feed's rows are fetched. And the set of variants that one request works
 * with.
 */
#ifndef FLASHOVER_QUERY_H
#define FLASHOVER_QUERY_H

#include "service/fan_out.h"
#include "service/variants/admission.h"
#include "service/variants/cancel.h"
#include "service/variants/deadline.h"
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
    const struct deadline_ops *deadline;
    const struct cancel_ops *cancel;
};

/* What every request shares: immutable, and alive for longer than any thread. */
struct query_environment {
    struct db_pool *pool;
    const struct db_conn_config *database; /* the pool's, for whoever connects by himself */
    struct queries queries;
    struct fan_out_limits fan_out;
    unsigned fan_out_limit;          /* threads of one request, where the variant has a limit */
    _Atomic uint64_t *item_failures; /* [FAILURE_KINDS], counted as they happen, late ones too */
};

struct query_request {
    const struct query_environment *environment;
    struct variant_set variants;
    int64_t feed_id;
    unsigned items;
    int64_t deadline_ns; /* the handler's: by then there is an answer */
    int64_t wait_ns;     /* the deadline of each checkout, connect and query: see `deadline` */
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
    /* Runs in the request's own thread. Returns at the latest a small grace after the deadline, but
     * for what this thread itself waits for where that is given another one (deadline_ops). True:
     * outcome->map holds every item. False: outcome->failure is set. */
    bool (*run)(const struct query_request *request, struct query_outcome *outcome);
};

extern const struct query_ops query_batched;
extern const struct query_ops query_per_item;
extern const struct query_ops query_bounded;
extern const struct query_ops query_pipelined;
extern const struct query_ops query_nested;
extern const struct query_ops query_connect_per_item;

/* What is done with one connection. */
struct query_step {
    const char *call_site, *query; /* as in struct db_checkout */
    /* Gets the connection and `context`; its result decides whether the query succeeded. */
    bool (*use)(struct db_conn *conn, void *context, struct failure *failure);
    void *context;
    const struct db_checkout_group *group; /* NULL: nobody will call it off */
};

/* Counts an item's or a step's failure, as it happens. Returns false, so that a function can end
 * with it. */
bool query_failed(const struct query_request *request, const struct failure *failure);

/* One checkout, one use, one check-in, by the request's variants. A failure is counted. */
bool query_with_connection(const struct query_request *request, const struct query_step *step,
                           struct failure *failure) __attribute__((warn_unused_result));

#endif
