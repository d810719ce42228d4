/*
 * What is tested: the parts of --url, its address, and the text of a request to it.
 */
#ifndef FLASHOVER_LOADTEST_TARGET_H
#define FLASHOVER_LOADTEST_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define TARGET_URL_SIZE     1024
#define TARGET_REQUEST_SIZE 2048

struct target {
    char url[TARGET_URL_SIZE];  /* with its path, "{feed}" as written */
    char base[TARGET_URL_SIZE]; /* "http://host:port" */
    char host[256];             /* a name or an address, without brackets */
    char port[6];
    char before[TARGET_URL_SIZE]; /* path and query up to "{feed}" */
    char after[TARGET_URL_SIZE];  /* and behind it */
    bool has_feed;
    uint32_t items;                  /* of ?items=N, 1..1000; 0 when the URL has none */
    struct sockaddr_storage address; /* valid after target_resolve */
    socklen_t address_size;
};

/* Takes a URL "http://HOST[:PORT][/PATH]" apart; a URL without a path gets /v1/feeds/{feed}.
 * Returns 0, or -1 with the reason in `why`. */
int target_parse(struct target *target, const char *url, char *why, size_t why_size);

/* Looks the host up. Of several addresses the first that accepts a connection is taken, or else the
 * first ("localhost" is two addresses, and the service listens on one). Returns 0, or -1 with the
 * reason in `why`. May block for as long as the resolver does. */
int target_resolve(struct target *target, char *why, size_t why_size);

/* Writes the request for one feed; returns its size, less than TARGET_REQUEST_SIZE. */
size_t target_write_request(const struct target *target, uint32_t feed_id,
                            char out[TARGET_REQUEST_SIZE]);

#endif
