/*
 * One HTTP answer, fed in pieces of any size as they come from the socket (Debian's http-parser
 * does the grammar). Interim answers (100 Continue) are passed over. The body is kept up to a
 * limit, so that no server can make the load tester grow. Used by one thread.
 */
#ifndef FLASHOVER_LOADTEST_ENGINE_RESPONSE_PARSER_H
#define FLASHOVER_LOADTEST_ENGINE_RESPONSE_PARSER_H

#include "common/text.h"

#include <http_parser.h>
#include <stdbool.h>
#include <stddef.h>

#define RESPONSE_REQUEST_ID_SIZE 64
#define RESPONSE_HEADER_SIZE     32

enum response_progress {
    RESPONSE_MORE,   /* the answer is not whole yet */
    RESPONSE_DONE,   /* it is */
    RESPONSE_BROKEN, /* it is no HTTP, or over a limit; `problem` says what */
    RESPONSE_CUT,    /* the connection ended before it was whole */
};

/* What a body beyond the limit means. */
enum response_excess {
    RESPONSE_EXCESS_BREAKS, /* the answer is RESPONSE_BROKEN */
    RESPONSE_EXCESS_IGNORED /* it is read to its end and not kept */
};

struct response_parser {
    http_parser parser;
    enum response_excess excess;
    size_t body_limit_bytes;
    struct text body; /* owned; kept for the next answer unless it has grown large */
    bool any_bytes;   /* something came back at all */
    bool complete;
    bool keep_alive; /* valid once complete: the connection can take another request */
    int status;      /* valid once complete */
    char request_id[RESPONSE_REQUEST_ID_SIZE]; /* X-Request-Id, printable ASCII; "" without */
    const char *problem;                       /* fixed text, once broken */
    char header[RESPONSE_HEADER_SIZE];         /* name of the header being read, cut */
    size_t header_size;
    size_t request_id_size;
    bool header_ended; /* its value has begun: further name bytes start a new header */
};

/* Makes ready for the next answer; a zeroed struct is fine the first time. */
void response_parser_begin(struct response_parser *parser, size_t body_limit_bytes,
                           enum response_excess excess);

/* Feeds bytes of the connection. Bytes behind the end of the answer clear keep_alive. */
enum response_progress response_parser_feed(struct response_parser *parser, const char *bytes,
                                            size_t size_bytes);

/* The connection's end: completes an answer that is delimited by it. */
enum response_progress response_parser_end(struct response_parser *parser);

void response_parser_destroy(struct response_parser *parser);

#endif
