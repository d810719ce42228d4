/*
 * A handler's answer as libmicrohttpd takes it. For the HTTP server alone.
 */
#ifndef FLASHOVER_COMMON_HTTP_RESPONSE_H
#define FLASHOVER_COMMON_HTTP_RESPONSE_H

#include "common/http/server.h"

struct MHD_Response;

/* Makes one of the stream, or else of the body; either is used up. NULL without memory. */
struct MHD_Response *http_response_make(struct http_response *response)
    __attribute__((warn_unused_result));

#endif
