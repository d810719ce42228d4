/*
 * The tables `toggle`, `setting` and `event`, over a control connection (role flashover_control).
 */
#ifndef FLASHOVER_SERVICE_TOGGLES_STORE_H
#define FLASHOVER_SERVICE_TOGGLES_STORE_H

#include "service/db/conn.h"

#include <jansson.h>

/* The tables of names and values. A change is an event of the table's name. */
enum store_table { STORE_TOGGLE, STORE_SETTING };

/* All rows as a JSON object of name: value as text; the caller's to json_decref. NULL and `failure`
 * otherwise. */
json_t *store_read(struct db_conn *conn, enum store_table table, int64_t deadline_ns,
                   struct failure *failure) __attribute__((warn_unused_result));

/* Stores the object's names and values, removes those that are null, and appends the event, all or
 * nothing, over a connection of its own. Listeners are notified by a trigger. All rows then, as
 * store_read() has them. NULL otherwise, and `failure` says whether anything was changed, or that
 * it is not known. */
json_t *store_change(const struct db_conn_config *database, enum store_table table,
                     const char *replica, const json_t *changes, int64_t deadline_ns,
                     struct failure *failure) __attribute__((warn_unused_result));

/* Appends an event that happened at `at_ns`, on the monotonic clock. `detail` is an object, not
 * stolen; NULL: {}. */
bool event_append(struct db_conn *conn, const char *replica, const char *kind, const json_t *detail,
                  int64_t at_ns, int64_t deadline_ns, struct failure *failure)
    __attribute__((warn_unused_result));

/* Has the server give up on each later statement before the deadline passes here, so that its
 * answer tells what came of it. */
bool event_limit_statements(struct db_conn *conn, int64_t deadline_ns, struct failure *failure)
    __attribute__((warn_unused_result));

/* Appends the event `crash`, noticed at `at_ns`, when the replica's last life has a start and no
 * stop. *crashed tells whether it did. `life` names the present one: its own start is no crash, and
 * nothing is appended twice, so both may be tried again when it is not known what came of them. */
bool event_append_unclean_end(struct db_conn *conn, const char *replica, const char *life,
                              int64_t at_ns, bool *crashed, int64_t deadline_ns,
                              struct failure *failure) __attribute__((warn_unused_result));

/* Appends the event `start` unless this life has one. `detail` is an object that has `life`. */
bool event_append_start(struct db_conn *conn, const char *replica, const json_t *detail,
                        int64_t at_ns, int64_t deadline_ns, struct failure *failure)
    __attribute__((warn_unused_result));

/* Appends the event `dump` for each of these files, an array of names, that this replica has none
 * for yet. *added: the names of those, a new reference; NULL when it fails. */
bool event_append_dumps(struct db_conn *conn, const char *replica, const json_t *files,
                        json_t **added, int64_t deadline_ns, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
