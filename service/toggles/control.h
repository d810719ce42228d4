/*
 * The service's own connection to the database, outside the pool, so that no load can take it: it
 * receives changes of toggles and settings (LISTEN/NOTIFY), tells whether the database can be
 * reached (for /readyz), and keeps the event log.
 */
#ifndef FLASHOVER_SERVICE_TOGGLES_CONTROL_H
#define FLASHOVER_SERVICE_TOGGLES_CONTROL_H

#include "service/toggles/settings.h"
#include "service/toggles/store.h"
#include "service/toggles/toggles.h"

struct control;

struct control_config {
    const char *conninfo;         /* role flashover_control, direct; NULL: PG* variables */
    const char *replica;          /* names this process in the event log */
    const char *pool_application; /* the application_name of the pool's connections */
    const char *dump_dir;         /* whose dumps are to be recorded; NULL: none */
    struct toggles *toggles;
    struct settings *settings;
    /* Called in the control thread after each reading that finds settings which a restart would put
     * in force; may be NULL. */
    void (*on_new_settings)(void);
};

/* Starts the thread, and waits until its first try to connect, and to read the toggles, has
 * succeeded or failed, or three seconds have passed: a database that does not answer must not keep
 * the ports from answering. NULL and `failure` when the thread cannot start. `config` is copied,
 * what it points to is not. */
struct control *control_start(const struct control_config *config, struct failure *failure)
    __attribute__((warn_unused_result));

/* Whether the database answered within the last two seconds. Does not ask it. */
bool control_reachable(struct control *control);

/* How many backends the database has for the pool's application_name, by its last answer, at most
 * two seconds old: those of this process and of other replicas, and those that a dead process left
 * behind. -1: unknown. */
int64_t control_backends(const struct control *control);

/* Stores changes that toggles_check() or settings_check() has passed. Toggles are in force before
 * it returns, settings after a restart. On a connection of its own; at most 3 s. False: `failure`
 * says whether anything was changed, as that of store_change() does. */
bool control_change(struct control *control, enum store_table table, const json_t *changes,
                    struct failure *failure) __attribute__((warn_unused_result));

/* Records the event `stop`, with {"restart":true} where this life was told to make room for
 * another, and ends the thread. Call once, before the process ends. */
void control_stop(struct control *control, bool restart);

#endif
