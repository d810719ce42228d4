/*
 * The live view on stderr while a run lasts: on a terminal a few lines that are written over, else
 * a line a second.
 */
#ifndef FLASHOVER_LOADTEST_REPORT_LIVE_VIEW_H
#define FLASHOVER_LOADTEST_REPORT_LIVE_VIEW_H

#include "loadtest/engine/load_run.h"

#include <stdio.h>

struct live_view {
    FILE *stream;
    bool is_terminal;
    const char *label;    /* in front of each line, "" for none */
    unsigned lines_shown; /* on a terminal: what is to be written over */
};

/* Prepares `view`, which must outlive the watch. */
struct load_watch live_view_watch(struct live_view *view, const char *label);

/* Takes the lines off the terminal again. */
void live_view_clear(struct live_view *view);

#endif
