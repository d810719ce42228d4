/*
 * The tables `toggle` and `event`, over a control connection (role flashover_control).
 */
#ifndef FLASHOVER_TOGGLE_STORE_H
#define FLASHOVER_TOGGLE_STORE_H

#include "service/db_conn.h"

#include <jansson.h>

/* All stored toggles as a JSON object of name: value; the caller's to json_decref. NULL and
 * `failure` otherwise. */
json_t *toggle_store_read(struct db_conn *conn, int64_t deadline_ns, struct failure *failure)
    __attribute__((warn_unused_result));

/* Stores the object's names and values and an event `toggle`, all or nothing, over a connection of
 * its own. Listeners are notified by a trigger. All stored toggles then, as toggle_store_read() has
 * them. NULL otherwise, and `failure` says whether anything was changed, or that it is not known.
 */
json_t *toggle_store_change(const struct db_conn_config *database, const char *replica,
                            const json_t *changes, int64_t deadline_ns, struct failure *failure)
    __attribute__((warn_unused_result));

/* Appends an event. `detail` is an object, not stolen; NULL: {}. */
bool event_append(struct db_conn *conn, const char *replica, const char *kind, const json_t *detail,
                  int64_t deadline_ns, struct failure *failure) __attribute__((warn_unused_result));

/* Appends the event `crash` when the replica's last life has a start and no stop. *crashed tells
 * whether it did. */
bool event_append_unclean_end(struct db_conn *conn, const char *replica, bool *crashed,
                              int64_t deadline_ns, struct failure *failure)
    __attribute__((warn_unused_result));

/* Appends the event `dump` for each of these files, an array of names, that this replica has none
 * for yet. *added: the names of those, a new reference; NULL when it fails. */
bool event_append_dumps(struct db_conn *conn, const char *replica, const json_t *files,
                        json_t **added, int64_t deadline_ns, struct failure *failure)
    __attribute__((warn_unused_result));

#endif
