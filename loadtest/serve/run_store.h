/*
 * Runs on disk: one JSON file each in a directory, written whole or not at all. A run has a file
 * from before its first request on, so that one that was under way when the process was killed is
 * known afterwards: as "lost". All functions may be called from any thread.
 */
#ifndef FLASHOVER_LOADTEST_SERVE_RUN_STORE_H
#define FLASHOVER_LOADTEST_SERVE_RUN_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* "20260131T235959999Z-0123abcd" and the NUL: sorts by time, and is safe as a file's name. */
#define RUN_ID_SIZE 29

/* A run's states, as its JSON has them. */
#define RUN_STATE_RUNNING  "running"
#define RUN_STATE_FINISHED "finished"
#define RUN_STATE_FAILED   "failed" /* could not be carried out: its JSON has `error` */
#define RUN_STATE_LOST     "lost"

struct run_store;

/* Opens the directory, which is made if there is none, for this process alone. Runs that are still
 * "running" there become "lost"; what a killed process left half written is removed; other files
 * are left alone. `keep` (at least 1): so many runs are kept, the oldest are removed. NULL with the
 * reason in `why`. */
struct run_store *run_store_open(const char *directory, size_t keep, char *why, size_t why_size)
    __attribute__((warn_unused_result));
void run_store_close(struct run_store *store);

/* Whether a text has the form of an id; no other one is looked for on disk. */
bool run_store_is_id(const char *text);

/* Writes the record of a run that starts now: its id, state, start, url and what was asked for
 * (borrowed). False with the reason in `why`. */
bool run_store_begin(struct run_store *store, const char *url, json_t *asked, char id[RUN_ID_SIZE],
                     char *why, size_t why_size) __attribute__((warn_unused_result));

/* Adds how it ended to the record: `state`, and the members of `result`, which is stolen. Where
 * the disk refuses it, the run is kept in memory as long as the store is open; then returns false
 * with the reason in `why`. */
bool run_store_end(struct run_store *store, const char *id, const char *state, json_t *result,
                   char *why, size_t why_size);

/* Every run, the newest first: id, state, started, url and verdict (null, or its word). */
json_t *run_store_list(struct run_store *store) __attribute__((warn_unused_result));

/* The whole record of a run; NULL when there is none of this id, or not any more. */
json_t *run_store_load(struct run_store *store, const char *id) __attribute__((warn_unused_result));

#endif
