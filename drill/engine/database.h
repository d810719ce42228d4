/*
 * The functions of the schema drill, which deploy/create-drill.sql makes.
 */
#ifndef FLASHOVER_DRILL_ENGINE_DATABASE_H
#define FLASHOVER_DRILL_ENGINE_DATABASE_H

#include "drill/engine/lab.h"

/* Calls one, on a connection of its own, for a few seconds at most. `arguments` are texts, NULL:
 * null. `conninfo`: role flashover_drill; NULL: libpq's PG* variables. False: `why`,
 * also where the function answers that it found nothing to do. */
bool database_call(const char *conninfo, const char *sql, const char *const arguments[],
                   int argument_count, char why[LAB_WHY_SIZE]) __attribute__((warn_unused_result));

#endif
