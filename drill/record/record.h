/*
 * A drill's record: a file of JSON lines that only grows, `record.jsonl` in the drill's folder. It
 * is whole up to its last line whatever dies; what a person entered is on the disk before the
 * answer.
 */
#ifndef FLASHOVER_DRILL_RECORD_RECORD_H
#define FLASHOVER_DRILL_RECORD_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record;

/* Opens the record in `folder`, which is made if it is not there, for appending. An unfinished last
 * line, as a crash leaves it, is cut off. NULL: `why` says why. */
struct record *record_open(const char *folder, char *why, size_t why_size)
    __attribute__((warn_unused_result));
void record_close(struct record *record);

/* Appends {"at":UTC,"mono_s":…,"kind":kind} and the members of `fields`, which is stolen.
 * `durable`: it is on the disk when this returns. False: it is not in the record, as on a full
 * disk, and record_trouble() says why; the line may be tried again. One thread at a time. */
bool record_append(struct record *record, const char *kind, json_t *fields, bool durable)
    __attribute__((warn_unused_result));

/* Why the last append failed; "" where it did not. */
const char *record_trouble(const struct record *record);

/* Calls `take` for each whole line of the record in `folder`, in order, until it returns false. A
 * line that is no JSON object is passed over and counted. Returns that count; -1: there is no
 * record that can be read. */
int record_read(const char *folder, bool (*take)(void *context, const json_t *line), void *context);

#endif
