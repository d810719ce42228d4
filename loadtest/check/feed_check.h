/*
 * Holds the body of a 200 against the rule that the data was made by: position p (1..1000) of feed
 * f holds video 1 + (f*7919 + p*104729) % 100003; its title is 'Video <id>', its views are
 * (id*7919) % 1000003, its likes (id*104729) % 10007. A feed of N items holds positions 1..N.
 */
#ifndef FLASHOVER_LOADTEST_CHECK_FEED_CHECK_H
#define FLASHOVER_LOADTEST_CHECK_FEED_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FEED_CHECK_ITEMS_MAX 1000

/* Defects of one body, or the sum over many. */
struct feed_defects {
    uint64_t lost;      /* entries that should be there and are not */
    uint64_t foreign;   /* entries of a video that the feed does not hold */
    uint64_t duplicate; /* entries of a video that already had one */
    uint64_t corrupt; /* entries with a wrong title, views or likes; also a wrong feed_id, count */
    uint64_t
        malformed; /* bodies that are not the JSON of a feed; nothing else is counted in them */
};

/* Adds the defects of one body to `defects`. `items` is 1..FEED_CHECK_ITEMS_MAX. Returns true when
 * there are none; if not, *first points to a fixed text that names the gravest. */
bool feed_check_body(const char *body, size_t size_bytes, uint32_t feed_id, uint32_t items,
                     struct feed_defects *defects, const char **first);

void feed_check_merge(struct feed_defects *into, const struct feed_defects *from);

#endif
