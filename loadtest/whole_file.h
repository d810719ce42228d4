/*
 * Files that are there whole or not at all.
 */
#ifndef FLASHOVER_LOADTEST_WHOLE_FILE_H
#define FLASHOVER_LOADTEST_WHOLE_FILE_H

#include <stddef.h>

/* Writes `bytes` to `path` by way of a temporary file beside it that is renamed at the end; what
 * was at `path` stays until then. Returns 0, or -1 with the reason in `why`. */
int whole_file_write(const char *path, const char *bytes, size_t size_bytes, char *why,
                     size_t why_size);

#endif
