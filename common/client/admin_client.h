/*
 * Small blocking requests beside the load: the service's admin port (metrics, toggles) and its
 * health checks. One client per thread.
 */
#ifndef FLASHOVER_COMMON_CLIENT_ADMIN_CLIENT_H
#define FLASHOVER_COMMON_CLIENT_ADMIN_CLIENT_H

#include "common/text.h"

#include <stddef.h>

/* Answers are cut beyond this. */
#define ADMIN_ANSWER_BYTES ((size_t)4 << 20)

struct admin_client;

/* A client for paths below base_url ("http://127.0.0.1:8081"). token_file: the file whose first
 * line goes into the Authorization header as a bearer token, or NULL. NULL with the reason in `why`
 * when the file cannot be used. The caller frees it. */
struct admin_client *admin_client_new(const char *base_url, const char *token_file, char *why,
                                      size_t why_size) __attribute__((warn_unused_result));
void admin_client_free(struct admin_client *client);

/* Sends `method` to `path`, with `body` as JSON when it is not NULL, and replaces `answer` by the
 * answer's body. Redirects are not followed, no proxy is used, nothing is tried again. Returns the
 * HTTP status, or 0 when there was no answer within timeout_ms; `why` then says why. */
int admin_client_request(struct admin_client *client, const char *method, const char *path,
                         const char *body, int timeout_ms, struct text *answer, char *why,
                         size_t why_size);

#endif
