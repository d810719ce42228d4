/*
 * Files that are there whole or not at all.
 */
#ifndef FLASHOVER_LOADTEST_BASE_WHOLE_FILE_H
#define FLASHOVER_LOADTEST_BASE_WHOLE_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* What the name of a temporary file has between that of the file and six letters or digits. */
#define WHOLE_FILE_TEMPORARY ".partial-"

/* Writes `bytes` to `path` by way of a temporary file beside it that is renamed at the end; what
 * was at `path` stays until then. File and folder are on the disk when it returns. `mode` as for
 * chmod(2). A device or a pipe is written to, and stays what it is. False with the reason in `why`.
 */
bool whole_file_write(const char *path, unsigned mode, const char *bytes, size_t size_bytes,
                      char *why, size_t why_size) __attribute__((warn_unused_result));

/* The whole of a file of at most `size_max` bytes, with a NUL behind it; to be freed. NULL with
 * errno otherwise: EFBIG where it is larger. */
char *whole_file_read(const char *path, size_t size_max, size_t *size_bytes)
    __attribute__((warn_unused_result));

/* Whether such a file could be written now, tried with a temporary one that is removed again:
 * better known before a long run than after it. False with the reason in `why`. */
bool whole_file_try(const char *path, char *why, size_t why_size)
    __attribute__((warn_unused_result));

#endif
