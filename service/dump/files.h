/*
 * The files that this life and earlier ones left in the dump directory. The time in a file's name
 * makes the order.
 */
#ifndef FLASHOVER_SERVICE_DUMP_FILES_H
#define FLASHOVER_SERVICE_DUMP_FILES_H

#include <jansson.h>

#include <stdint.h>

/* Of each kind: crash dumps, and the pool's events. */
#define DUMP_FILES_KEPT 100
#define DUMP_BYTES_KEPT (INT64_C(256) << 20)

/* The names of the dumps of dying processes in `dir`, the oldest first, at most the newest
 * DUMP_FILES_KEPT; an empty array where there are none or the directory cannot be read. A new
 * reference; NULL without memory. */
json_t *dump_files_list(const char *dir) __attribute__((warn_unused_result));

/* Removes the oldest files beyond DUMP_FILES_KEPT and DUMP_BYTES_KEPT of each kind, so that a fire
 * that burns for a day does not fill the disk. Touches no other file. */
void dump_files_trim(const char *dir);

#endif
