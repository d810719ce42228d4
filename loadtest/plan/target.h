/*
 * What is tested: the parts of --url, its address, and the text of a request to it.
 */
#ifndef FLASHOVER_LOADTEST_PLAN_TARGET_H
#define FLASHOVER_LOADTEST_PLAN_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define TARGET_URL_SIZE      1024
#define TARGET_REQUEST_SIZE  2048
#define TARGET_ADDRESSES_MAX 8

struct target_address {
    struct sockaddr_storage socket;
    socklen_t size_bytes;
};

struct target {
    char url[TARGET_URL_SIZE];  /* with its path, "{feed}" as written */
    char base[TARGET_URL_SIZE]; /* "http://host:port" */
    char host[256];             /* a name or an address, without brackets */
    char port[6];
    char before[TARGET_URL_SIZE]; /* path and query up to "{feed}" */
    char after[TARGET_URL_SIZE];  /* and behind it */
    bool has_feed;
    uint32_t items; /* of ?items=N, 1..1000; 0 when the URL has none */
    /* what the name has, the first of them preferred; none before target_resolve() */
    struct target_address addresses[TARGET_ADDRESSES_MAX];
    unsigned address_count;
};

/* A URL for messages: one line, cut to the size, without a user's name and password. */
void target_show(const char *url, char *out, size_t size);

/* Takes a URL "http://HOST[:PORT][/PATH]" apart; a URL without a path gets /v1/feeds/{feed}. False
 * with the reason in `why`. */
bool target_parse(struct target *target, const char *url, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* Makes the URL ask for so many items, in place of the number that it has. False: it would be too
 * long. */
bool target_set_items(struct target *target, uint32_t items) __attribute__((warn_unused_result));

/* Looks the host up, once. Of several addresses the first that accepts a connection now is
 * preferred
 * ("localhost" is two addresses, and the service listens on one); a connect that it refuses tries
 * the others. False with the reason in `why`. May block for as long as the resolver does. */
bool target_resolve(struct target *target, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* Whether one of the addresses accepts a connection now. Blocks for a second an address at most. */
bool target_accepts(const struct target *target);

/* Writes the request for one feed; returns its size, less than TARGET_REQUEST_SIZE. */
size_t target_write_request(const struct target *target, uint32_t feed_id,
                            char out[TARGET_REQUEST_SIZE]);

#endif
