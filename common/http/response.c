#include "common/http/response.h"

#include "common/check.h"

#include <microhttpd.h>

#define STREAM_BLOCK_BYTES 4096u

/* A stream on its way; freed by libmicrohttpd with the response. */
struct outflow {
    struct http_stream stream;
    struct text piece;
    size_t sent_bytes; /* of the piece */
    bool ended;        /* there is none after this piece */
};

void http_response_error(const struct http_request *request, struct http_response *response,
                         int status, int ecode, const char *message)
{
    text_clear(&response->body);
    response->status = status;
    response->content_type = "application/json";
    text_addf(&response->body, "{\"ecode\":%d,\"message\":", ecode);
    text_add_json_string(&response->body, message, strlen(message));
    text_addf(&response->body, ",\"request_id\":\"%s\"}\n", request->id);
}

void http_response_refuse(const struct http_request *request, struct http_response *response,
                          int status, const char *message)
{
    http_response_error(request, response, status, -status, message);
}

void http_response_json(const struct http_request *request, struct http_response *response,
                        json_t *document)
{
    char *text = document ? json_dumps(document, JSON_INDENT(1) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(document);
    if (!text) {
        http_response_refuse(request, response, 503, "out of memory");
        return;
    }
    text_add(&response->body, text);
    text_add(&response->body, "\n");
    free(text);
}

static ssize_t read_outflow(void *cls, uint64_t position, char *buffer, size_t size)
{
    struct outflow *outflow = cls;
    (void)position;
    while (outflow->sent_bytes == outflow->piece.size_bytes) {
        if (outflow->ended)
            return MHD_CONTENT_READER_END_OF_STREAM;
        outflow->piece.size_bytes = outflow->sent_bytes = 0;
        outflow->ended = !outflow->stream.next(outflow->stream.context, &outflow->piece);
        if (outflow->piece.failed)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t left = outflow->piece.size_bytes - outflow->sent_bytes;
    size_t taken = left < size ? left : size;
    memcpy(buffer, outflow->piece.data + outflow->sent_bytes, taken);
    outflow->sent_bytes += taken;
    return (ssize_t)taken;
}

static void free_outflow(void *cls)
{
    struct outflow *outflow = cls;
    outflow->stream.release(outflow->stream.context);
    text_clear(&outflow->piece);
    free(outflow);
}

static struct MHD_Response *make_stream(const struct http_stream *stream)
{
    struct outflow *outflow = calloc(1, sizeof *outflow);
    struct MHD_Response *out = NULL;
    if (outflow) {
        outflow->stream = *stream;
        out = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_outflow,
                                                outflow, free_outflow);
    }
    if (!out) {
        stream->release(stream->context);
        free(outflow);
        return NULL;
    }
    MHD_add_response_header(out, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    return out;
}

struct MHD_Response *http_response_make(struct http_response *response)
{
    struct MHD_Response *out = NULL;
    if (response->stream.next)
        out = make_stream(&response->stream);
    else if (!response->body.failed)
        out = MHD_create_response_from_buffer(response->body.size_bytes, response->body.data,
                                              MHD_RESPMEM_MUST_FREE);
    if (!out || response->stream.next)
        text_clear(&response->body);
    response->body = (struct text){0};
    return out;
}
