/*
 * `drill play`: scripted people against the drills' own HTTP interface. They show what each way of
 * working earns.
 */
#ifndef FLASHOVER_DRILL_PLAY_PLAY_H
#define FLASHOVER_DRILL_PLAY_PLAY_H

#include "common/stop.h"

/* Plays a drill to its end and prints its grade as JSON. The exit status: 0, 1 for trouble, 2 for
 * wrong options. */
int play_command(int argc, char **argv, struct stop *stop);

#endif
