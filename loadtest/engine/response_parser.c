#include "loadtest/engine/response_parser.h"

#include "common/check.h"

#include <strings.h>

/* A buffer beyond this is given back between answers: 2,000 connections must not keep the largest
 * body that each has ever seen. */
#define BODY_KEPT_BYTES 65536

static bool is_interim(const http_parser *parser)
{
    return parser->status_code / 100 == 1 && parser->status_code != HTTP_STATUS_SWITCHING_PROTOCOLS;
}

/* Of several messages, interim ones first, only the last one counts. */
static int on_message_begin(http_parser *from)
{
    struct response_parser *parser = from->data;
    parser->header_size = 0;
    parser->header_ended = true;
    parser->request_id_size = 0;
    parser->request_id[0] = '\0';
    return 0;
}

static int on_header_field(http_parser *from, const char *at, size_t length)
{
    struct response_parser *parser = from->data;
    if (parser->header_ended) {
        parser->header_ended = false;
        parser->header_size = 0;
    }
    size_t room = sizeof parser->header - 1 - parser->header_size;
    size_t taken = length < room ? length : room;
    memcpy(parser->header + parser->header_size, at, taken);
    parser->header_size += taken;
    parser->header[parser->header_size] = '\0';
    return 0;
}

static int on_header_value(http_parser *from, const char *at, size_t length)
{
    struct response_parser *parser = from->data;
    bool is_start = !parser->header_ended;
    parser->header_ended = true;
    if (strcasecmp(parser->header, "X-Request-Id") != 0)
        return 0;
    if (is_start) /* of two such headers, the latter */
        parser->request_id_size = 0;
    for (size_t i = 0; i < length && parser->request_id_size + 1 < sizeof parser->request_id; i++)
        parser->request_id[parser->request_id_size++] = at[i] > 0x20 && at[i] < 0x7f ? at[i] : '?';
    parser->request_id[parser->request_id_size] = '\0';
    return 0;
}

/* http-parser takes any number up to 999 for a status, and reads a body wherever a length is named;
 * these have none, whatever their headers say (RFC 9112 section 6.3). Returns 1: there is no body.
 */
static int on_headers_complete(http_parser *from)
{
    struct response_parser *parser = from->data;
    if (from->status_code < 100) {
        parser->problem = "the status is no number of three digits";
        return -1;
    }
    return from->status_code / 100 == 1 || from->status_code == HTTP_STATUS_NO_CONTENT ||
           from->status_code == HTTP_STATUS_NOT_MODIFIED;
}

static int on_body(http_parser *from, const char *at, size_t length)
{
    struct response_parser *parser = from->data;
    size_t room = parser->body_limit_bytes - parser->body.size_bytes;
    if (length > room && parser->excess == RESPONSE_EXCESS_BREAKS) {
        parser->problem = "the body is larger than any feed can be";
        return 1;
    }
    text_append(&parser->body, at, length < room ? length : room);
    if (parser->body.failed) {
        parser->problem = "out of memory for the body";
        return 1;
    }
    return 0;
}

static int on_message_complete(http_parser *from)
{
    struct response_parser *parser = from->data;
    if (is_interim(from))
        return 0;
    parser->complete = true;
    parser->status = (int)from->status_code;
    parser->keep_alive = http_should_keep_alive(from) && !from->upgrade;
    http_parser_pause(from, 1); /* what follows is not ours to read */
    return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_message_begin,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void response_parser_begin(struct response_parser *parser, size_t body_limit_bytes,
                           enum response_excess excess)
{
    if (parser->body.failed || parser->body.capacity_bytes > BODY_KEPT_BYTES)
        text_clear(&parser->body);
    struct text body = parser->body;
    body.size_bytes = 0;
    *parser = (struct response_parser){
        .excess = excess, .body_limit_bytes = body_limit_bytes, .body = body, .header_ended = true};
    http_parser_init(&parser->parser, HTTP_RESPONSE);
    parser->parser.data = parser;
}

enum response_progress response_parser_feed(struct response_parser *parser, const char *bytes,
                                            size_t size_bytes)
{
    assert(!parser->complete);
    if (size_bytes == 0)
        return RESPONSE_MORE;
    parser->any_bytes = true;
    size_t taken = http_parser_execute(&parser->parser, &settings, bytes, size_bytes);
    if (parser->complete) {
        if (taken < size_bytes)
            parser->keep_alive = false;
        return RESPONSE_DONE;
    }
    enum http_errno error = HTTP_PARSER_ERRNO(&parser->parser);
    if (error == HPE_OK && taken == size_bytes)
        return RESPONSE_MORE;
    if (!parser->problem)
        parser->problem =
            error == HPE_OK ? "bytes behind the end of the answer" : http_errno_description(error);
    return RESPONSE_BROKEN;
}

enum response_progress response_parser_end(struct response_parser *parser)
{
    assert(!parser->complete);
    http_parser_execute(&parser->parser, &settings, NULL, 0);
    if (!parser->complete)
        return RESPONSE_CUT;
    parser->keep_alive = false;
    return RESPONSE_DONE;
}

void response_parser_destroy(struct response_parser *parser)
{
    text_clear(&parser->body);
}
