/*
 * A session of the database under one of the roles that only drills use: a report, a nightly job, a
 * migration. It executes its statements, does nothing until its time is over, and ends, which rolls
 * back what it has not committed. A thread each.
 */
#ifndef FLASHOVER_DRILL_ENGINE_SESSION_H
#define FLASHOVER_DRILL_ENGINE_SESSION_H

#include "drill/catalogue/scenario.h"

#include <stdbool.h>
#include <stdint.h>

struct session;

/* Starts one for a step of SQL, which must outlive it. `conninfo`: a login of flashover_drill; the
 * step's role takes its place. NULL without memory or threads. */
struct session *session_start(const char *conninfo, const struct step *step)
    __attribute__((warn_unused_result));

/* Whether it has ended by itself; *error (may be NULL) then has the database's words, or "". */
bool session_is_over(struct session *session, char *error, size_t error_size);

/* The role that it runs under. */
const char *session_role(const struct session *session);

/* Ends it now, with the statement that it may be waiting for, and frees it. */
void session_end(struct session *session);

#endif
