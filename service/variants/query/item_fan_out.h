/*
 * What the variants share that fetch a feed's list and then each item by itself, in threads of a
 * fan-out: who frees the state, who hears of an item's failure, and when the request's thread stops
 * waiting.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_QUERY_ITEM_FAN_OUT_H
#define FLASHOVER_SERVICE_VARIANTS_QUERY_ITEM_FAN_OUT_H

#include "service/variants/query/query.h"

/* Shared by the request's thread and its items' threads; freed with the fan-out's last reference.
 * Lock key: (i) immutable once threads run, (m) under `lock`, (a) atomic, (v) as the map's variant
 * has it, (t) the request's thread's, while it is there. */
struct item_fan_out {
    struct query_request request; /* (i) */
    struct id_list list;          /* (i) */
    struct result_map *map;  /* (v); NULL once it was handed to the handler, when all are done */
    struct fan_out *fan_out; /* (i) */
    struct query_outcome *outcome;  /* (t) */
    bool all_done;                  /* (t) */
    struct db_checkout_group group; /* (a) the items' checkouts */
    _Atomic unsigned next;          /* (a) the first item that no thread has taken (bounded) */
    pthread_mutex_t lock;
    struct failure first_failure;         /* (m) the earliest item's */
    unsigned failed_items[FAILURE_KINDS]; /* (m) */
    bool is_waited_for;                   /* (m) */
};

/* Clears *outcome, which must live until abandon or collect has returned, and makes the map. NULL
 * without memory, and outcome->failure says so. */
struct item_fan_out *item_fan_out_open(const struct query_request *request,
                                       struct query_outcome *outcome)
    __attribute__((warn_unused_result));

/* The list could not be read: counts outcome->failure and frees all. NULL is allowed. Returns
 * false, so that a function can end with it. */
bool item_fan_out_abandon(struct item_fan_out *items);

/* Takes so many threads, at most request->items. False: there is none, because of a limit
 * (outcome->failure) or the deadline. */
bool item_fan_out_take(struct item_fan_out *items, unsigned threads)
    __attribute__((warn_unused_result));

/* The next of them runs task(items, index); each index at most once. False: the deadline has
 * passed, and there will be no more. */
bool item_fan_out_start(struct item_fan_out *items, fan_out_task *task, unsigned index)
    __attribute__((warn_unused_result));

/* An item could not be fetched: in its thread, which holds nothing any more. The request's thread
 * stops waiting soon, and the variant `cancel` decides what becomes of the siblings. */
void item_fan_out_item_failed(struct item_fan_out *items, const struct failure *failure);

/* Waits for the threads: until a small grace after the deadline, or after the first item's failure.
 * Not at all where none could be started. */
void item_fan_out_wait(struct item_fan_out *items);

/* Gives the map to the outcome when every item is there. The result is query_ops.run's. `items` is
 * not the caller's any more: threads may be at work, and the last of them frees it. */
bool item_fan_out_collect(struct item_fan_out *items);

#endif
