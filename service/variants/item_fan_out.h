/*
 * What the variants share that fetch a feed's list and then each item by itself, in threads of a
 * fan-out: who does what when something fails, and when the request's thread stops waiting.
 */
#ifndef FLASHOVER_ITEM_FAN_OUT_H
#define FLASHOVER_ITEM_FAN_OUT_H

#include "service/variants/query.h"

/* Shared by the request's thread and its items' threads; freed with the fan-out's last reference.
 * Lock key: (i) immutable once threads run, (m) under `lock`, (a) atomic, (v) as the map's variant
 * has it, (t) the request's thread's, while it is there. */
struct item_fan_out {
    struct query_request request; /* (i) */
    struct id_list list;          /* (i) */
    struct result_map *map; /* (v); NULL once it was handed to the handler, when all are done */
    struct query_outcome *outcome;  /* (t) */
    struct db_checkout_group group; /* (a) the items' checkouts */
    _Atomic unsigned next;          /* (a) the first item that nobody has taken, where they do */
    pthread_mutex_t lock;
    struct failure first_failure;         /* (m) the earliest item's */
    unsigned failed_items[FAILURE_KINDS]; /* (m) */
    struct fan_out *fan_out;              /* (m) once it has started */
};

/* How an item comes by a connection: query_with_connection(), or what a variant has in its place.
 */
typedef bool item_fan_out_connect(const struct query_request *request,
                                  const struct query_step *step, struct failure *failure);

/* Clears *outcome, which must live until run or fail has returned, and makes the map. NULL without
 * memory, and outcome->failure says so. */
struct item_fan_out *item_fan_out_open(const struct query_request *request,
                                       struct query_outcome *outcome)
    __attribute__((warn_unused_result));

/* One checkout for the feed's list, whose connection goes to `use` with `items` as its context:
 * item_fan_out_read_list(), or what calls it. False: outcome->failure is set. */
bool item_fan_out_list(struct item_fan_out *items, const char *call_site,
                       bool (*use)(struct db_conn *conn, void *context, struct failure *failure))
    __attribute__((warn_unused_result));

/* One query, for the feed's list; `context` is a struct item_fan_out. */
bool item_fan_out_read_list(struct db_conn *conn, void *context, struct failure *failure);

/* Frees what no thread was started for; NULL is allowed. Returns false, so that a function can end
 * with it. */
bool item_fan_out_fail(struct item_fan_out *items);

/* One item's query over a connection that `connect` comes by, in an item's thread. A failure is
 * reported to the request's thread, and to the siblings by the variant `cancel`. The put comes
 * before the connection is given back, so that a thread that dies in the map dies holding one. */
void item_fan_out_fetch(struct item_fan_out *items, unsigned index, item_fan_out_connect *connect,
                        const char *call_site);

/* Has so many threads run the task, whose context is `items`, and waits for them: until a small
 * grace after the deadline, or after the first item's failure. The result is query_ops.run's.
 * `items` is not the caller's any more. */
bool item_fan_out_run(struct item_fan_out *items, unsigned threads, fan_out_task *task);

#endif
