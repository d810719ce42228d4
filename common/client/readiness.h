/*
 * Waits between two loads until the service is ready again and what the last one left has drained
 * off.
 */
#ifndef FLASHOVER_COMMON_CLIENT_READINESS_H
#define FLASHOVER_COMMON_CLIENT_READINESS_H

#include "common/client/admin_client.h"
#include "common/stop.h"

struct readiness {
    struct admin_client *public; /* owned */
    struct admin_client *admin;  /* owned; NULL: only /readyz is looked at */
    const struct stop *stop;
    struct text answer;
    char last[256]; /* why the last try failed */
};

/* admin_url and token_file may be NULL. False with the reason in `why`. */
bool readiness_init(struct readiness *readiness, const char *public_url, const char *admin_url,
                    const char *token_file, const struct stop *stop, char *why, size_t why_size)
    __attribute__((warn_unused_result));
void readiness_destroy(struct readiness *readiness);

/* Waits until /readyz answers 200 and no connection of the pool is in use or waited for, at most
 * 30 s: a service that crashed is started again with a back-off. False with the reason in `why`,
 * also when `stop` was asked for. */
bool readiness_wait(struct readiness *readiness, char *why, size_t why_size)
    __attribute__((warn_unused_result));

#endif
