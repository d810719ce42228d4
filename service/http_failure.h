/*
 * The one place where a failure becomes an HTTP answer, a log line and a count.
 */
#ifndef FLASHOVER_HTTP_FAILURE_H
#define FLASHOVER_HTTP_FAILURE_H

#include "service/service.h"

/* Answers a failed feed request, logs one line and counts it. */
void http_failure_answer(struct service *service, const struct http_request *request,
                         int64_t feed_id, const struct query_outcome *outcome,
                         struct http_response *response);

/* Answers the caller's own mistake: status 400 or 404 with ecode minus the status. */
void http_mistake_answer(const struct http_request *request, int status, const char *message,
                         struct http_response *response);

#endif
