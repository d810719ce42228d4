/*
 * `drill serve`.
 */
#ifndef FLASHOVER_DRILL_SERVE_COMMAND_H
#define FLASHOVER_DRILL_SERVE_COMMAND_H

#include "common/stop.h"

/* Serves until a signal comes. The exit status: 0, 1 where it cannot start, 2 for wrong options. */
int serve_command(int argc, char **argv, struct stop *stop);

#endif
