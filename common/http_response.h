/*
 * A handler's answer as libmicrohttpd wants it; the HTTP server's own.
 */
#ifndef FLASHOVER_HTTP_RESPONSE_H
#define FLASHOVER_HTTP_RESPONSE_H

#include "common/http_server.h"

struct MHD_Response;

/* Makes one of the stream, or else of the body; either is used up. NULL without memory. */
struct MHD_Response *http_response_make(struct http_response *response)
    __attribute__((warn_unused_result));

#endif
