/*
 * The one place where a failure becomes an HTTP answer, a log line and a count.
 */
#ifndef FLASHOVER_SERVICE_HTTP_HTTP_FAILURE_H
#define FLASHOVER_SERVICE_HTTP_HTTP_FAILURE_H

#include "service/http/service.h"

/* Answers a failed feed request, logs one line and counts it. */
void http_failure_answer(struct service *service, const struct http_request *request,
                         int64_t feed_id, const struct query_outcome *outcome,
                         struct http_response *response);

#endif
