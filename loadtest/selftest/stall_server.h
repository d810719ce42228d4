/*
 * An HTTP server that plays a scene, for the load tester's selftest: on a port of 127.0.0.1, in a
 * thread of its own. It writes down what it did, and how late it did it: what the machine took from
 * the server must not be laid at the load tester's door.
 */
#ifndef FLASHOVER_LOADTEST_SELFTEST_STALL_SERVER_H
#define FLASHOVER_LOADTEST_SELFTEST_STALL_SERVER_H

#include "loadtest/check/feed_check.h"
#include "loadtest/selftest/stall_scene.h"

#include <stddef.h>

/* One request, on the monotonic clock; answered_ns stays 0 when no answer was written. */
struct stall_served {
    int64_t arrived_ns;
    int64_t answered_ns;
};

/* What the server saw and did. */
struct stall_record {
    uint64_t requests;
    uint64_t by_kind[STALL_KIND_COUNT]; /* of these, by the answer that was chosen */
    struct feed_defects defects;        /* entries, in the answers that were chosen */
    int64_t late_max_ns;                /* the latest answer, after the moment it was due */
    struct stall_served *served;        /* the first `served_count` requests, by their arrival */
    size_t served_count;
};

struct stall_server;

/* Starts a server that keeps record of the first served_max requests. `scene` is borrowed. NULL
 * with the reason in `why`; the caller frees it. */
struct stall_server *stall_server_start(const struct stall_scene *scene, size_t served_max,
                                        char *why, size_t why_size)
    __attribute__((warn_unused_result));

uint16_t stall_server_port(const struct stall_server *server);

/* Takes up what has come in, then ends the thread and closes the port and all connections. Returns
 * what there is on record, valid until the server is freed. May be called again. */
const struct stall_record *stall_server_finish(struct stall_server *server);

void stall_server_free(struct stall_server *server);

#endif
