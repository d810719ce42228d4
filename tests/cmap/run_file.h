/* Runs one file, in a process of its own. */
#ifndef FLASHOVER_TESTS_CMAP_RUN_FILE_H
#define FLASHOVER_TESTS_CMAP_RUN_FILE_H

#include "tests/cmap/database.h"

/* Runs the file and prints what came of it: a line `ok   name: description`, or `FAIL name:
 * description` with the reason, the events and the process's stderr below it. True: it passed. A
 * file that hangs or crashes fails, and takes no other with it. */
bool cmap_run_file(const char *path, const struct cmap_settings *settings);

#endif
