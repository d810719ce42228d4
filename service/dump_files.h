/*
 * The dumps that earlier lives left in the dump directory.
 */
#ifndef FLASHOVER_DUMP_FILES_H
#define FLASHOVER_DUMP_FILES_H

#include <jansson.h>

/* The names of the dumps of dying processes in `dir`, the oldest first, at most the newest hundred;
 * an empty array where there are none or the directory cannot be read. A new reference; NULL
 * without memory. */
json_t *dump_files_list(const char *dir) __attribute__((warn_unused_result));

#endif
