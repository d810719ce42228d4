/*
 * The toggle `query`: how a feed's rows are fetched. And the set of variants that one request works
 * with.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_QUERY_QUERY_H
#define FLASHOVER_SERVICE_VARIANTS_QUERY_QUERY_H

#include "service/variants/admission/admission.h"
#include "service/variants/cancel/cancel.h"
#include "service/variants/deadline/deadline.h"
#include "service/variants/fan_out/fan_out.h"
#include "service/variants/fatal/fatal.h"
#include "service/variants/map/map.h"
#include "service/variants/release/release.h"

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
    const struct db_conn_config *database; /* the pool's, for connections past it */
    struct queries queries;
    struct cached_threads_config threads; /* of fan-outs */
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
    /* Runs in the request's own thread. Returns at the latest a small grace after the deadline, but
     * for this thread's own waits, whose deadline is the variant `deadline`'s. True:
     * outcome->map holds every item. False: outcome->failure is set. */
    bool (*run)(const struct query_request *request, struct query_outcome *outcome);
};

extern const struct query_ops query_batched;
extern const struct query_ops query_per_item;
extern const struct query_ops query_bounded;
extern const struct query_ops query_pipelined;
extern const struct query_ops query_nested;
extern const struct query_ops query_connect_per_item;

/* Whether the request's deadline is still to come; if not, *failure is REQUEST_DEADLINE. An item
 * that nobody has taken up by then does not ask the pool: it would count as one that waited for a
 * connection. */
bool query_has_time(const struct query_request *request, struct failure *failure);

/* Waits its turn for a connection of the pool, by the variant `admission`. `call_site` and `query`
 * are string constants, as in struct db_checkout. `group`: CALLED_OFF once it is; NULL: nobody
 * calls it off. False: *slot is NULL. */
bool query_checkout(const struct query_request *request, const char *call_site, const char *query,
                    const struct db_checkout_group *group, struct db_slot **slot,
                    struct failure *failure) __attribute__((warn_unused_result));

/* A new connection, past the pool, for query_video() alone; closed by db_conn_close(). NULL and
 * `failure` otherwise; `group` as above. */
struct db_conn *query_connect(const struct query_request *request,
                              const struct db_checkout_group *group, struct failure *failure)
    __attribute__((warn_unused_result));

/* queries_feed_list() and queries_video() with what the request gives them: the feed, the number of
 * items, the deadline. */
bool query_list(const struct query_request *request, struct db_conn *conn, struct id_list *list,
                struct failure *failure) __attribute__((warn_unused_result));
bool query_video(const struct query_request *request, struct db_conn *conn, int64_t video_id,
                 struct video *video, struct failure *failure) __attribute__((warn_unused_result));

/* Ends the use of the connection by the variant `release`, and clears *slot. `ok` and `failure`
 * are what came of the query. */
void query_checkin(const struct query_request *request, struct db_slot **slot, bool ok,
                   const struct failure *failure);

/* Puts an item's video into the map, by the variant `map`. It comes before the connection is given
 * back, so that a thread that dies in the map dies holding one. */
bool query_put(const struct query_request *request, struct result_map *map, unsigned index,
               const struct video *video, struct failure *failure)
    __attribute__((warn_unused_result));

/* Counts an item's or a request's failure, as it happens. */
void query_count_failure(const struct query_request *request, const struct failure *failure);

#endif
