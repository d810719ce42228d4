/*
 * From a result of the database to values. Columns, types, lengths and NULLs are checked first, so
 * that no data and no change of the schema can crash the service or end in a wrong answer: what
 * does not fit is a DATABASE failure that names the column. No locks, no I/O.
 */
#ifndef FLASHOVER_SERVICE_DB_DECODE_H
#define FLASHOVER_SERVICE_DB_DECODE_H

#include "service/base/failure.h"

#include <libpq-fe.h>
#include <stdint.h>

#define VIDEO_TITLE_SIZE 32

struct video {
    int64_t id, views, likes;
    char title[VIDEO_TITLE_SIZE]; /* UTF-8 */
};

struct id_list {
    int64_t *ids; /* owned; free() */
    unsigned count;
};

typedef bool video_visit(void *context, const struct video *video);

/* The result of feed_list: the ids of the feed's first `items` positions, in order. A feed's list
 * holds each id once. False, and an empty list: NOT_FOUND where there is no such feed, LIMIT
 * without memory, DATABASE where the list is shorter, or has an id twice, or does not fit. */
bool decode_feed_list(const PGresult *result, int64_t feed_id, unsigned items, struct id_list *list,
                      struct failure *failure) __attribute__((warn_unused_result));

/* The result of video: the one video with this id. False with DATABASE where it is missing, is
 * there twice, or does not fit. */
bool decode_video(const PGresult *result, int64_t video_id, struct video *video,
                  struct failure *failure) __attribute__((warn_unused_result));

/* The result of feed: `visit` gets each video of the feed's first `items` positions, in the rows'
 * order. False as for decode_video(); INCOMPLETE where there are not `items` different videos; or
 * LIMIT when a visit returned false, for want of memory. */
bool decode_feed(const PGresult *result, unsigned items, video_visit *visit, void *context,
                 struct failure *failure) __attribute__((warn_unused_result));

/* An INCOMPLETE result of feed, and the feed's list, which is in order: sets DATABASE, and which
 * video is missing or there twice. */
void decode_missing(const PGresult *result, int64_t feed_id, const struct id_list *list,
                    struct failure *failure);

#endif
